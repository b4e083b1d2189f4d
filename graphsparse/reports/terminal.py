"""Reports as tables in the terminal."""

from __future__ import annotations

import math

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from graphsparse.reports.analyze import Report

COUNTS = ("connections", "kept", "active", "units", "starved", "stranded")


def table(report: Report) -> Group:
    """The parameters, the totals and the notes of a report."""
    columns = [column for column in report.frame.columns if column != "shape"]
    result = Table(title=report.title, title_justify="left", header_style="bold")
    result.add_column("parameter", no_wrap=True)
    result.add_column("shape", no_wrap=True)
    for column in columns:
        result.add_column(column, justify="right", no_wrap=True)
    for name, row in report.frame.iterrows():
        cells = [_number(column, row[column]) for column in columns]
        result.add_row(str(name), "x".join(map(str, row["shape"])), *cells)
    notes = [Text(f"  {note}", style="yellow") for note in report.notes]
    return Group(result, *(Text(line) for line in totals(report)), *notes)


def totals(report: Report) -> list[str]:
    """Two lines that say it all."""
    summary = report.summary
    lines = [
        f"  direct     {summary['kept']:>12,} of {summary['connections']:,} kept    "
        f"sparsity {summary['direct_sparsity']:.6f}   compression {_times(summary['direct_compression'])}"
    ]
    if "active" in summary:
        lines.append(
            f"  effective  {summary['active']:>12,} of {summary['connections']:,} active  "
            f"sparsity {summary['effective_sparsity']:.6f}   compression {_times(summary['effective_compression'])}"
        )
    return lines


def _number(column: str, value: float) -> str:
    return f"{int(value):,}" if column in COUNTS else f"{value:.4f}"


def _times(compression: float) -> str:
    return "infinite" if math.isinf(compression) else f"{compression:,.1f}x"


def show(report: Report, console: Console | None = None) -> None:
    """Print a report; a pipe gets a table wide enough for every column."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 140))
    console.print(table(report))

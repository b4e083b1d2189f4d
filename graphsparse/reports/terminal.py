"""Reports as tables in the terminal, and what all tables there are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from graphsparse.pages.render import fraction
from graphsparse.reports.report import MACS, Report

if TYPE_CHECKING:
    from graphsparse.reports.several import Reports

SPARED = ("kept_macs", "macs", "active_macs", "shape", "units", "connections", "direct", "stranded", "starved", "kept")
"""What a narrow terminal does without, in this order; the JSON and the frame have it all."""
PIPE_WIDTH = 1000
USUAL_WIDTH = 80
MANY = 500
"""Rows up to which a table is drawn; longer ones are set as plain text, a thousand times faster."""
NAME_WIDTH = 12
"""What a name gets at least; longer ones are folded."""


def show(report: Report, console: Console | None = None) -> None:
    """Print a report, as wide as the terminal; a pipe or file gets every column, unbroken."""
    console, texts = wide(console or Console()), texts_of(report)
    if len(report.rows) > MANY:
        console.file.write(_long_table(report.title, texts, console.width))
    else:
        _draw(report.title, texts, console)
    console.print(Group(*_below(report)))
    print_notes(report.notes, console)


def show_reports(found: Reports, console: Console) -> None:
    """Print a report; of several, a row per file."""
    if found.only:
        show(found.only, console)
        return
    console = wide(console)
    table = table_of("", ("checkpoint", "connections", "kept", "active", "direct", "effective"))
    columns = ("connections", "kept", "active", "direct_compression", "effective_compression")
    for name, report in found.reports.items():
        table.add_row(Text(printable(name)), *(cell(column, report.summary.get(column)) for column in columns))
    console.print(table)
    print_notes([f"{name}: {note}" for name, report in found.reports.items() for note in report.notes], console)


def wide(console: Console) -> Console:
    """The console itself where it is a terminal that has a width, else one to the same file that breaks no lines."""
    if console.is_terminal and console.width > 0:
        return console
    return type(console)(file=console.file, width=USUAL_WIDTH if console.is_terminal else PIPE_WIDTH)


def texts_of(report: Report) -> dict[str, list[str]]:
    """The columns of a report's table as text, each with its head."""
    columns = {name: [name, *(cell(name, row[name]) for row in report.rows.values())] for name in report.columns}
    return {"parameter": ["parameter", *(printable(str(name)) for name in report.rows)], **columns}


def _widths(texts: Mapping[str, Sequence[str]], between: int, room: int, least: int = 0) -> dict[str, int]:
    """The widths of the columns that fit; what is `SPARED` goes first, but "kept" only where "active" stays."""
    widths = {name: max(map(cell_len, column)) for name, column in texts.items()}
    widths["parameter"] = max(least, widths["parameter"])
    for spared in SPARED:
        if sum(widths.values()) + between * len(widths) <= room:
            break
        if spared != "kept" or "active" in widths:
            widths.pop(spared, None)
    return widths


def _draw(title: str, texts: Mapping[str, Sequence[str]], console: Console) -> None:
    """Print the columns that fit. Where no more can go names are folded; what is wider still the terminal breaks."""
    widths = _widths(texts, 3, console.width + 1, NAME_WIDTH)
    others = sum(widths.values()) - widths["parameter"] + 3 * len(widths) - 1
    folded = min(widths["parameter"], max(NAME_WIDTH, console.width - others))
    table = table_of(title, widths, left=1 + ("shape" in widths))
    table.columns[0].width = folded
    for row in zip(*(texts[name][1:] for name in widths)):
        table.add_row(*map(Text, row))
    if others + folded > console.width:
        console = type(console)(file=console.file, width=others + folded, force_terminal=console.is_terminal)
    console.print(table)


def _long_table(title: str, texts: Mapping[str, Sequence[str]], room: int) -> str:
    """The columns that fit, as plain text."""
    columns = []
    for name, width in _widths(texts, 2, room).items():
        left = name in ("parameter", "shape")
        columns.append([set_cell_size(text, width) if left else text.rjust(width) for text in texts[name]])
    lines = [f" {'  '.join(line)}".rstrip() for line in zip(*columns)]
    return "\n".join(["", printable(title), "", *lines, "", ""])


def table_of(title: str, columns: Iterable[str], left: int = 1) -> Table:
    """An empty table. The ``left`` first columns hold words, which fold; the others hold numbers, which do not."""
    shown = Text(printable(title), style="bold") if title else None
    table = Table(title=shown, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        words = number < left
        table.add_column(Text(column), justify="left" if words else "right", overflow="fold", no_wrap=not words)
    return table


def print_notes(notes: Iterable[str], console: Console) -> None:
    """Print notes below a table."""
    for note in notes:
        console.print(Text(f"  {printable(note)}", style="yellow"))


def _below(report: Report) -> Iterator[Text]:
    """The totals in a line each, the multiplications of one sample, and what each input was taken for, and why."""
    summary = report.summary
    digits = len(f"{summary['kept']:,}")
    for kind, verb in (("direct", "kept"), ("effective", "active")):
        if verb in summary:
            yield Text(
                f"  {kind:<9} {summary[verb]:>{digits},} of {summary['connections']:,} {verb:<6}  "
                f"sparsity {summary[f'{kind}_sparsity']:.6f}  compression {times(summary[f'{kind}_compression'])}"
            )
    if all(column in summary for column in MACS):
        dense, kept, active = (summary[column] for column in MACS)
        yield Text(f"  {'MACs':<9} {active:,} of active connections, {kept:,} of kept ones, {dense:,} of all")
    for number, each in enumerate(report.inputs):
        yield Text(f"  {'' if number else 'inputs':<9} {printable(str(each))}")


def times(compression: float) -> str:
    """A compression as people say it."""
    return "infinite" if math.isinf(compression) else f"{compression:,.1f}x"


def printable(text: str) -> str:
    """The text without control characters: names come from files."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def cell(measure: str, value: Any, signed: bool = False) -> str:
    """A value as a table shows it; empty where there is none.

    Example:
        >>> cell("shape", (2, 3)), cell("direct", 0.99999), cell("died", 1200, signed=True), cell("overlap", None)
        ('2x3', '0.9999', '+1,200', '')
    """
    if measure == "shape":
        return "x".join(map(str, value))
    if value is None or math.isnan(value):
        return ""
    sign = "+" if signed and value > 0 else ""
    if measure.endswith("compression"):
        return sign + times(value)
    if measure in ("direct", "effective"):
        return fraction(value)
    whole = isinstance(value, Integral) or (float(value).is_integer() and abs(value) != 1)
    return f"{sign}{int(value):,}" if whole else f"{sign}{value:.4f}"

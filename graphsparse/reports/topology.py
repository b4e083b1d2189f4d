"""Topology statistics as a table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphsparse.metrics.topology import Topology
from graphsparse.reports.terminal import printable, wide

LARGE = 1e12  # from here on numbers are shown with an exponent


def show(title: str, found: Topology, notes: Iterable[str] = (), console: Console | None = None) -> None:
    """Print what every metric is in all, for what is kept and what is active, and why some values are not defined."""
    console, total = wide(console or Console()), found.total
    table = Table(title=Text(printable(title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("metric", "unit"):
        table.add_column(column, overflow="fold")
    for column in ("kept", "active"):
        table.add_column(column, justify="right", no_wrap=True)
    group = None
    for name, row in total.iterrows():
        if row["group"] != group:
            group = row["group"]
            table.add_row(Text(str(group), style="bold"))
        table.add_row(Text(f"  {name}"), Text(row["unit"]), _cell(row["kept"]), _cell(row["active"]))
    console.print(table)
    for reason, rows in total[total["undefined"] != ""].groupby("undefined", sort=False):
        console.print(Text(f"  undefined, {reason}: {', '.join(map(str, rows.index))}"))
    for note in notes:
        console.print(Text(f"  {printable(note)}", style="yellow"))


def _cell(value: float) -> Text:
    if math.isnan(value):
        return Text("undefined")
    if abs(value) >= LARGE:
        return Text(f"{value:.4g}")
    return Text(f"{int(value):,}" if value.is_integer() else f"{value:,.4f}")

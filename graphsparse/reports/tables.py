"""Comparisons, trajectories and topology as tables in the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphsparse.reports.terminal import cell, print_notes, printable, table_of, wide
from graphsparse.runs.rows import ALL, PARAMETER, Row

if TYPE_CHECKING:
    from graphsparse.metrics.topology import Topology
    from graphsparse.runs.comparison import CheckpointComparison
    from graphsparse.runs.trajectory import Trajectory

MEASURES = (
    "connections", "kept", "active", "direct_compression", "effective_compression", "live", "starved", "stranded", "anp",
    "overlap", "active_overlap", "born", "died", "units_born", "units_died",
)  # fmt: skip
OF_STEPS = (
    "kept", "active", "direct_compression", "effective_compression", "live", "anp", "itop", "born", "died", "units_died",
    "overlap_before", "overlap_last",
)  # fmt: skip
HEADS = {
    "direct_compression": "direct", "effective_compression": "effective", "overlap_before": "overlap", "overlap_last": "last",
    "units_died": "units died", "units_born": "units born", "active_overlap": "active overlap",
}  # fmt: skip
SPARSITIES, CHANGES = ("direct", "effective"), ("overlap", "died", "born")
NAMED = 4
LARGE = 1e12  # from here on numbers of topology are shown with an exponent


def show_comparison(found: CheckpointComparison, console: Console) -> None:
    """Totals and metrics with differences to the first checkpoint, then the parameters, then units."""
    console, names = wide(console), list(found.files)
    for name, file in found.files.items():
        console.print(Text(f"  {name}  {printable(file)}"), soft_wrap=True)
    console.print(_totals(found, names))
    console.print(_parameters(found, names))
    for name in names[1:]:
        _print_units(console, name, [row for row in found.unit_rows if row["checkpoint"] == name], names[0])
    print_notes(found.notes, console)


def show_trajectory(found: Trajectory, console: Console) -> None:
    """A row per step, then collapses and deaths of units."""
    console = wide(console)
    table = table_of(found.title, ["step", *(HEADS.get(column, column.replace("_", " ")) for column in OF_STEPS)])
    for row in found.rows:
        if row["scope"] == ALL:
            table.add_row(Text(str(row["step"])), *(cell(column, row[column]) for column in OF_STEPS))
    console.print(table)
    for place, step in found.collapses.items():
        said = f"nothing is active in {printable(place)}" if place else "the network has collapsed"
        console.print(Text(f"  From step {step} on: {said}.", style="bold"), soft_wrap=True)
    if found.death_rows:
        back = sum(row["back"] is not None for row in found.death_rows)
        died = f"  {len(found.death_rows):,} deaths of units, {back:,} of them came back; "
        console.print(Text(f"{died}cut by {_cut(found.death_rows)}."), soft_wrap=True)
    print_notes(found.notes, console)


def _totals(found: CheckpointComparison, names: Sequence[str]) -> Table:
    table = table_of("in all", ["measure", *names, *(f"{name} - {names[0]}" for name in names[1:])])
    rows = {row["checkpoint"]: row for row in found.rows if row["scope"] == ALL}
    for measure in MEASURES:
        _add(table, HEADS.get(measure, measure.replace("_", " ")), measure, [rows[name][measure] for name in names])
    for metric, by_name in _by(found.topology_rows, "metric").items():
        for part in ("kept", "active"):
            values = [by_name[name][part] for name in names]
            if part == "kept" or values != [by_name[name]["kept"] for name in names]:
                _add(table, metric if part == "kept" else f"{metric}, active", metric, values)
    return table


def _add(table: Table, head: str, measure: str, values: Sequence[float]) -> None:
    differences = [value - values[0] for value in values[1:]]
    cells = [cell(measure, value) for value in values]
    table.add_row(Text(head), *cells, *(cell(measure, each, signed=True) for each in differences))


def _parameters(found: CheckpointComparison, names: Sequence[str]) -> Table:
    heads = [f"{measure} {name}" for measure in SPARSITIES for name in names]
    later = [f"{measure} {name}" for measure in CHANGES for name in names[1:]]
    table = table_of("by parameter", ["parameter", "connections", *heads, *later])
    for place, by_name in _by([row for row in found.rows if row["scope"] == PARAMETER], "place").items():
        cells = [cell(measure, by_name[name][measure]) for measure in SPARSITIES for name in names]
        cells += [cell(measure, by_name[name][measure]) for measure in CHANGES for name in names[1:]]
        table.add_row(Text(printable(place)), cell("connections", by_name[names[0]]["connections"]), *cells)
    return table


def _by(rows: Iterable[Row], key: str) -> dict[str, dict[str, Row]]:
    """The rows with each value of a column, by checkpoint."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row[key], {})[row["checkpoint"]] = row
    return found


def _print_units(console: Console, name: str, rows: Sequence[Row], first: str) -> None:
    died = [row for row in rows if row["change"] == "died"]
    if rows:
        cut = f"; cut by {_cut(died)}" if died else ""
        text = f"  {name}: {len(died):,} units alive in {first} are dead{cut}. {len(rows) - len(died):,} came to life."
        console.print(Text(text), soft_wrap=True)


def _cut(rows: Iterable[Mapping[str, Any]]) -> str:
    """Who cut how many units, the most first."""
    counts = Counter(printable(row["cut_by"]) for row in rows)
    most = [f"{who} {count:,}" for who, count in counts.most_common(NAMED)]
    return "; ".join(most) + ("; others" if len(counts) > NAMED else "")


def show_topology(title: str, found: Topology, notes: Iterable[str], console: Console) -> None:
    """What every metric is in all, for what is kept and what is active, and why some values are not defined."""
    console, total = wide(console), found.total
    table = table_of(title, ("metric", "unit", "kept", "active"), left=2)
    for group, rows in total.groupby("group", sort=False):
        table.add_row(Text(str(group), style="bold"))
        for name, row in rows.iterrows():
            table.add_row(Text(f"  {name}"), row["unit"], _number(row["kept"]), _number(row["active"]))
    console.print(table)
    for reason, rows in total[total["undefined"] != ""].groupby("undefined", sort=False):
        console.print(Text(f"  undefined, {reason}: {', '.join(map(str, rows.index))}"))
    print_notes(notes, console)


def _number(value: float) -> str:
    if math.isnan(value):
        return "undefined"
    if abs(value) >= LARGE:
        return f"{value:.4g}"
    return f"{int(value):,}" if value.is_integer() else f"{value:,.4f}"

"""The numbers of a report: the totals, and a table of parameters with bars of their densities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from graphsparse.metrics.parts import Swept
from graphsparse.pages.render import count, fraction, shape, share, times
from graphsparse.pages.sections import Section
from graphsparse.pages.table import Cell, Head, Table
from graphsparse.reports.facts import Facts
from graphsparse.reports.page.details import LARGEST, details

COLUMNS = {
    "shape": "The shape of the parameter.",
    "connections": "Entries of the parameter.",
    "kept": "Connections that the mask keeps.",
    "active": "Kept, and on a path from an input to an output.",
    "dead": "Kept, but not active.",
    "direct": "Direct sparsity: 1 - kept / connections.",
    "effective": "Effective sparsity: 1 - active / connections.",
    "units": "Units that the parameter feeds.",
    "starved": "Of these, units that no input reaches.",
    "stranded": "Of these, units that reach no output.",
}
"""The table's columns, and what each means."""
FAR = ("shape", "connections", "units")
"""What a phone has no room for."""


def totals(report: Facts) -> Section:
    """The totals of a report; without a model there is nothing effective."""
    summary = report.summary
    effective = "active" in summary
    rows = [
        ("connections", count(summary["connections"]), count(summary["connections"]),
         "Entries of prunable kernels: weights of linear, convolution and embedding operations."),
        ("left", count(summary["kept"]), count(summary["active"]) if effective else "",
         "Direct: kept, its mask does not remove it. Effective: active, kept and on a path from an input to an output."),
        ("sparsity", fraction(summary["direct_sparsity"]), fraction(summary["effective_sparsity"]) if effective else "",
         "1 - left / connections."),
        ("compression", times(summary["direct_compression"]),
         times(summary["effective_compression"]) if effective else "", "connections / left."),
    ]  # fmt: skip
    return Section("totals", "Totals", {"rows": rows, "tiles": _tiles(report), "effective": effective})


def _tiles(report: Facts) -> list[tuple[str, str, str]]:
    """The numbers that people quote: name, value, and what stands below it."""
    summary = report.summary
    tiles = [("Direct compression", times(summary["direct_compression"]), f"{count(summary['kept'])} kept")]
    if "active" not in summary:
        return tiles
    dead = summary["kept"] - summary["active"]
    return [
        ("Effective compression", times(summary["effective_compression"]), f"{count(summary['active'])} active"),
        *tiles,
        ("Kept, but dead", count(dead), f"{share(dead / summary['kept'] if summary['kept'] else 0.0)} of what is kept"),
        ("Units", count(summary["units"]), f"{summary['resolution']}, {count(summary['layers'])} layers"),
    ]


def section(report: Facts, swept: Swept | None = None) -> Section:
    """A row for each parameter, what its bars show, and, of a swept graph, what a click on it shows."""
    rows, columns = rows_of(report), columns_of(report)
    heads = [Head(name, mark="far" if name in FAR else "", title=text) for name, text in columns.items()]
    cells = [(row["parameter"], [_cell(name, row[name]) for name in columns]) for row in rows]
    table = Table("parameter", heads, cells, _kinds(rows), linked=True)
    shown = details(swept) if swept else None
    scripts = ("table.js", "bars.js", *(("details.js",) if shown else ()))
    large = f"Masks and degrees are left out: there are more than {count(LARGEST)} connections."
    missing = large if swept and shown is None else ""
    values = {"table": table, "columns": columns, "details": shown is not None, "missing": missing}
    title = "By layer" if report.sparsity else "By tensor"
    return Section("layers", title, values, {**table.drawn, **({"details": shown} if shown else {})}, scripts)


def rows_of(report: Facts) -> list[dict[str, Any]]:
    """The rows of a report, with their names and what is dead."""
    dead = {name: {"dead": row["kept"] - row["active"]} for name, row in report.rows.items() if "active" in row}
    return [{"parameter": str(name), **row, **dead.get(name, {})} for name, row in report.rows.items()]


def columns_of(report: Facts) -> dict[str, str]:
    """Those of `COLUMNS` that a report has."""
    known = {*report.columns, *(("dead",) if "active" in report.columns else ())}
    return {name: text for name, text in COLUMNS.items() if name in known}


def _cell(name: str, value: Any) -> Cell:
    if name == "shape":
        return Cell(shape(value), math.prod(value))
    return Cell(fraction(value) if name in ("direct", "effective") else count(value), value)


def _kinds(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Rows that a reader may want to see alone."""
    if not rows or "active" not in rows[0]:
        return {}
    return {
        "with dead connections": [n for n, row in enumerate(rows) if row["dead"]],
        "collapsed": [n for n, row in enumerate(rows) if row["active"] == 0 < row["connections"]],
    }

"""The layers: a table of parameters with bars of their densities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphsparse.reports.page.details import LARGEST, details
from graphsparse.reports.page.render import count
from graphsparse.reports.page.sections import Section

if TYPE_CHECKING:
    from graphsparse.metrics.parts import Swept
    from graphsparse.reports.report import Report

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


def section(report: Report, swept: Swept | None = None) -> Section:
    """A row for each parameter, what its bars show, and, of a swept graph, what a click on it shows."""
    rows = [
        {"parameter": str(name), **row, **({"dead": row["kept"] - row["active"]} if "active" in row else {})}
        for name, row in report.rows.items()
    ]
    known = {*report.columns, *(("dead",) if "active" in report.columns else ())}
    columns = {name: text for name, text in COLUMNS.items() if name in known}
    drawn = {
        "names": [row["parameter"] for row in rows],
        "columns": {name: [row[name] for row in rows] for name in columns if name != "shape"},
    }
    shown = details(swept) if swept else None
    scripts = ("table.js", "bars.js", *(("details.js",) if shown else ()))
    values = {"rows": rows, "columns": columns, "details": shown is not None, "missing": ""}
    if swept and shown is None:
        values["missing"] = f"Masks and degrees are left out: there are more than {count(LARGEST)} connections."
    title = "By layer" if report.sparsity else "By tensor"
    return Section("layers", title, values, {**drawn, **({"details": shown} if shown else {})}, scripts)

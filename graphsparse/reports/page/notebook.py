"""The part of a page that a notebook shows at the end of a cell: no script, so it is the same wherever a notebook is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphsparse.reports.page import alerts, layers, totals
from graphsparse.reports.page.render import render_part

if TYPE_CHECKING:
    from graphsparse.reports.report import Report

ROWS, ALERTS = 12, 4
COLUMNS = ("kept", "active", "dead", "direct", "effective")


def part(report: Report) -> str:
    """Totals, the worst alerts, the first and the last rows. Needs the extra ``html``."""
    table, total = layers.section(report).values, totals.section(report).values
    columns = [name for name in COLUMNS if name in table["columns"]]
    rows = [{**row, "bar": round(100 * row.get("active", 0) / max(row["kept"], 1))} for row in table["rows"]]
    worst = alerts.section(report).values["alerts"][:ALERTS]
    return render_part("notebook.html", {
        "title": report.title, "totals": total["rows"], "effective": total["effective"], "alerts": worst,
        "columns": columns, "rows": _ends(rows),
    })  # fmt: skip


def _ends(rows: Sequence[Any]) -> Sequence[Any]:
    """The first and the last ones, and None between them."""
    half = ROWS // 2
    return rows if len(rows) <= ROWS else [*rows[:half], None, *rows[-half:]]

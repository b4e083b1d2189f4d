"""The part of a page that a notebook shows at the end of a cell: no script, so it is the same wherever a notebook is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphsparse.pages.render import render_part
from graphsparse.reports.facts import Facts
from graphsparse.reports.page import alerts, layers, totals

ROWS, ALERTS = 12, 4
COLUMNS = ("kept", "active", "dead", "direct", "effective")


def part(report: Facts) -> str:
    """Totals, the worst alerts, the first and the last rows. Needs the extra ``html``."""
    total, known = totals.section(report).values, layers.columns_of(report)
    columns = [name for name in COLUMNS if name in known]
    rows = [{**row, "bar": round(100 * row.get("active", 0) / max(row["kept"], 1))} for row in layers.rows_of(report)]
    worst = alerts.section(report).values["alerts"][:ALERTS]
    return render_part("notebook.html", {
        "title": report.title, "totals": total["rows"], "effective": total["effective"], "alerts": worst,
        "columns": columns, "rows": _ends(rows),
    })  # fmt: skip


def _ends(rows: Sequence[Any]) -> Sequence[Any]:
    """The first and the last ones, and None between them."""
    half = ROWS // 2
    return rows if len(rows) <= ROWS else [*rows[:half], None, *rows[-half:]]

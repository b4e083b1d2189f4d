"""What a notebook shows at the end of a cell: a part of the page, without scripts, which not all readers run."""

from __future__ import annotations

from typing import Any

from graphsparse.pages.render import render_part
from graphsparse.reports.facts import Facts
from graphsparse.reports.page import alerts, layers

ROWS, ALERTS = 12, 4
COLUMNS = ("kept", "active", "dead", "direct", "effective")


def part(report: Facts) -> str:
    """Totals, the worst alerts, the first and the last rows. Needs the extra ``html``."""
    total, known = layers.totals(report).values, layers.columns_of(report)
    columns = [name for name in COLUMNS if name in known]
    rows: list[Any] = [
        {**row, "bar": round(100 * row.get("active", 0) / max(row["kept"], 1))} for row in layers.rows_of(report)
    ]
    if len(rows) > ROWS:  # the first and the last ones
        rows = [*rows[: ROWS // 2], None, *rows[-(ROWS // 2) :]]
    worst = alerts.section(report).values["alerts"][:ALERTS]
    return render_part("notebook.html", {
        "title": report.title, "totals": total["rows"], "effective": total["effective"], "alerts": worst,
        "columns": columns, "rows": rows,
    })  # fmt: skip

"""Which sections the page of a report has, and what a notebook shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphsparse.metrics.parts import Swept
from graphsparse.pages import reproduction
from graphsparse.pages.render import render_part
from graphsparse.pages.sections import Page, Section
from graphsparse.passes.curve import CompressionCurve
from graphsparse.reports.facts import Facts
from graphsparse.reports.page import alerts, curve, flow, layers
from graphsparse.reports.page.fragility import fragility

ROWS, ALERTS = 12, 4
COLUMNS = ("kept", "active", "dead", "direct", "effective")


def page_of(report: Facts, *, command: str | None = None, curves: Mapping[str, CompressionCurve] | None = None) -> Page:
    """The page of a report, with those sections that the report has something for."""
    swept = None if report.graph is None else Swept(report.graph)
    ranking = curve.magnitudes(report)
    fragile = None if swept is None else fragility(swept, ranking)
    sections = [
        alerts.section(report, fragile.alerts if fragile else ()),
        layers.totals(report),
        layers.section(report, swept),
        curve.section(report, curves, ranking),
        flow.section(swept, fragile.on_flow(swept.graph)) if swept and fragile else None,
        fragile.section() if fragile else None,
        _coverage(report),
        reproduction.section(report.origin, command),
    ]
    without = "Direct sparsity by tensor. No model was named, so what needs a graph is left out: name one with --model."
    subtitle = "Direct and effective sparsity" if report.sparsity else without
    return Page(report.title, subtitle, tuple(section for section in sections if section is not None))


def _coverage(report: Facts) -> Section | None:
    """What inputs were taken for, which rule took which operation, what is conservative; None without a model."""
    found = report.coverage
    if found is None:
        return None
    values = {"rules": sorted(found.rules.items()), "conservative": found.conservative, "inputs": report.inputs,
              "verification": report.verification}  # fmt: skip
    return Section("coverage", "Coverage", values)


def part(report: Facts) -> str:
    """What a notebook shows at the end of a cell, without scripts, which not all readers run: totals, the worst alerts, the first and the last rows. Needs the extra ``html``."""
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

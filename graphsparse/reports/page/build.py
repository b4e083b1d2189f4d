"""Which sections the page of a report has."""

from __future__ import annotations

from collections.abc import Mapping

from graphsparse.metrics.parts import Swept
from graphsparse.pages import reproduction
from graphsparse.pages.sections import Page, Section
from graphsparse.passes.curve import CompressionCurve
from graphsparse.reports.facts import Facts
from graphsparse.reports.page import alerts, curve, flow, layers
from graphsparse.reports.page.fragility import fragility


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

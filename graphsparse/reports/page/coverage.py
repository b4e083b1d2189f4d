"""Coverage: what each input was taken for, which rule took which operation, and what was decided conservatively."""

from __future__ import annotations

from graphsparse.pages.sections import Section
from graphsparse.reports.facts import Facts


def section(report: Facts) -> Section | None:
    """The coverage of a report; nothing where no model was captured."""
    found = report.coverage
    if found is None:
        return None
    values = {"rules": sorted(found.rules.items()), "conservative": found.conservative, "inputs": report.inputs,
              "verification": report.verification}  # fmt: skip
    return Section("coverage", "Coverage", values)

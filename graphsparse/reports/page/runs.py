"""The pages of a run and of checkpoints side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphsparse.reports.page import reproduction
from graphsparse.reports.page.lines import lines
from graphsparse.reports.page.render import render, shown, times
from graphsparse.reports.page.sections import Page, Section
from graphsparse.reports.report import Origin
from graphsparse.runs.comparison import CheckpointComparison
from graphsparse.runs.deaths import counted
from graphsparse.runs.rows import ALL, PARAMETER, Row
from graphsparse.runs.trajectory import Trajectory

PANELS = {
    "Compression": {"direct": "direct_compression", "effective": "effective_compression"},
    "Overlap of masks": {"with the step before": "overlap_before", "with the last": "overlap_last"},
    "Shares": {"connections ever kept (ITOP)": "itop", "units joined (ANP)": "anp"},
    "Units": {"born": "units_born", "died": "units_died"},
}
STEPS = ("kept", "active", "direct_compression", "effective_compression", "live", "starved", "stranded", "anp", "itop",
         "born", "died", "units_born", "units_died", "overlap_before", "overlap_last")  # fmt: skip
MEASURES = ("connections", "kept", "active", "direct", "effective", "direct_compression", "effective_compression", "live",
            "starved", "stranded", "anp", "born", "died", "units_born", "units_died", "overlap", "active_overlap")  # fmt: skip
MOST = 500
"""Rows of a table of deaths; the frame has all."""


@dataclass(frozen=True)
class Alert:
    """A line at the top of a page, and where it leads."""

    level: str
    text: str
    place: str = ""


def trajectory_page(found: Trajectory, command: str | None = None) -> str:
    """The page of a run as HTML text: alerts, pictures, a table of steps, of deaths, of parameters. Needs ``html``."""
    rows = [row for row in found.rows if row["scope"] == ALL]
    steps = [row["step"] for row in rows]
    pictures = [
        (title, lines(title, steps, {name: [_known(row[column]) for row in rows] for name, column in series.items()}))
        for title, series in PANELS.items()
    ]
    every = sorted(counted(found.death_rows, "unit"), key=lambda row: -row["units"])
    sections = [
        Section("alerts", "Alerts", {"alerts": _alerts(found)}),
        Section("pictures", "Over the steps", {"pictures": pictures}),
        _grid("steps", "Steps", "step", [{"name": str(row["step"]), **row} for row in rows], STEPS),
        _grid("deaths", "Deaths of units", "layer", [{"name": row["layer"], **row} for row in every[:MOST]],
              ("step", "lost", "cut_by", "back", "units"), _left_out(every)),
        _grid("parameters", "Parameters at the last step", "parameter", _of_parameters(found.rows, steps[-1]),
              ("connections", *STEPS, "units_cut", "fan_in", "fan_in_variation")),
        reproduction.section(Origin(), command),
    ]  # fmt: skip
    return render(Page(found.title, f"A run of {len(steps)} checkpoints", tuple(sections)))


def comparison_page(found: CheckpointComparison, command: str | None = None) -> str:
    """The page of checkpoints side by side as HTML text. Needs the extra ``html``."""
    letters = list(found.files)
    totals = {row["checkpoint"]: row for row in found.rows if row["scope"] == ALL}
    measures: list[Row] = [
        {"name": m.replace("_", " "), "measure": m, **{k: totals[k][m] for k in letters}} for m in MEASURES
    ]
    metrics: dict[str, Row] = {}
    for row in found.topology_rows:
        of = metrics.setdefault(row["metric"], {"name": row["metric"]})
        of |= {row["checkpoint"]: row["kept"], f"{row['checkpoint']}, active": row["active"]}
    parts = [name for letter in letters for name in (letter, f"{letter}, active")]
    parameters = [
        {"name": f"{row['place']}, {row['checkpoint']}", **row} for row in found.rows if row["scope"] == PARAMETER
    ]
    pairs = [{"name": f"{row['one']} and {row['other']}", **row} for row in found.overlap_rows]
    units = [{"name": row["layer"], **row} for row in counted(found.unit_rows)]
    gone = [
        Alert("severe", f"{name} has collapsed: nothing is active.") for name in letters if totals[name]["collapsed"]
    ]
    said = [*gone, *(Alert("note", note) for note in found.notes)] or [Alert("note", "None of them has collapsed.")]
    sections = [
        Section("alerts", "Alerts", {"alerts": said}),
        _grid("checkpoints", "Side by side", "measure", measures, letters,
              "; ".join(f"{letter}: {name}" for letter, name in found.files.items())),
        _grid("overlaps", "Overlap", "pair", pairs, ("kept", "active"), "Intersection over union."),
        _grid("parameters", "By parameter", "parameter", sorted(parameters, key=lambda row: row["name"]), MEASURES),
        _grid("units", "Units since the first", "layer", units, ("checkpoint", "change", "lost", "cut_by", "units")),
        _grid("topology", "Topology", "metric", list(metrics.values()), parts),
        reproduction.section(Origin(), command),
    ]  # fmt: skip
    return render(Page(" and ".join(letters), "Checkpoints of one network side by side", tuple(sections)))


def _alerts(found: Trajectory) -> list[Alert]:
    alerts = [
        Alert("severe", f"From step {step} on nothing is active in {place or 'the network'}.", "#steps")
        for place, step in found.collapses.items()
    ]
    alerts += [Alert("warning", f"Skipped: {error}") for error in found.skipped.values()]
    alerts += [Alert("note", note) for note in found.notes]
    return alerts or [
        Alert("note", "Every checkpoint was read, and something was active in every parameter at every step.")
    ]


def _of_parameters(rows: Sequence[Row], step: int) -> list[Row]:
    return [{"name": row["place"], **row} for row in rows if row["step"] == step and row["scope"] == PARAMETER]


def _left_out(rows: Sequence[Any]) -> str:
    return "" if len(rows) <= MOST else f"The {MOST} largest of {len(rows):,} kinds; the frame has all."


def _grid(
    key: str, title: str, head: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], below: str = ""
) -> Section:
    """A table: the name of each row, and its columns."""
    cells = [
        (str(row["name"]), [_text(str(row.get("measure", column)), row.get(column)) for column in columns])
        for row in rows
    ]
    heads = [column.replace("_", " ") for column in columns]
    return Section(key, title, {"head": head, "columns": heads, "rows": cells, "below": below, "title": title})


def _text(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if column.endswith("compression"):
        return times(value)
    return f"{value:.4f}" if isinstance(value, float) and abs(value) < 10 and not value.is_integer() else shown(value)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

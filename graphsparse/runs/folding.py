"""A run from its first checkpoint to its last: what changes from step to step, and what was ever there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import nan

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.metrics import changes
from graphsparse.runs.deaths import Deaths, deaths, within_layers
from graphsparse.runs.rows import ALL, PARAMETER, Places, Row, changed, rows_of, unit_changes
from graphsparse.runs.snapshot import Snapshot
from graphsparse.runs.steps import Step

COLUMNS = (
    "step", "checkpoint", "scope", "place", "connections", "kept", "active", "direct", "effective",
    "direct_compression", "effective_compression", "collapsed", "units", "live", "starved", "stranded", "anp", "active_anp",
    "itop", "active_itop", "born", "died", "active_born", "active_died", "units_born", "units_died", "units_cut",
    "overlap_before", "overlap_last", "active_overlap_before", "active_overlap_last",
    "fan_in", "fan_in_variation", "active_fan_in_variation",
)  # fmt: skip
DEATHS = ("step", "layer", "unit", "lost", "cut_by", "back")


@dataclass(eq=False)
class Folding:
    """What is known of a run up to a step. ``rows`` and ``deaths`` grow; all else is of the step before."""

    base: LayeredGraph
    last: Snapshot
    causes: bool = True
    rows: list[Row] = field(default_factory=list)
    deaths: list[Row] = field(default_factory=list)
    before: Snapshot | None = None
    ever: tuple[dict[str, Mask], dict[str, Mask]] | None = None

    def __post_init__(self) -> None:
        self.places = Places.of(self.base)
        self.names = tuple(self.base.shapes)
        self.died_last = np.full(self.base.n_units, -1)  # where each unit's last death stands among the deaths

    def add(self, step: Step, now: Snapshot) -> None:
        """Go on to the next checkpoint."""
        kept_before, active_before = self.ever or (None, None)
        self.ever = changes.ever(kept_before, now.kept, self.names), changes.ever(active_before, now.active, self.names)
        found = rows_of(now, self.places)
        since, gone = self._since(now), self._deaths(step, now)
        to_last = self._between(now, self.last)
        for name, row in found.items():
            row |= {**since(name), **_overlaps(to_last, name, "last"), **self._ever_shares(name, row["connections"])}
            row["units_cut"] = gone(name)
            scope = {"scope": PARAMETER if name else ALL, "place": name}
            self.rows.append({"step": step.number, "checkpoint": step.name, **scope, **row})
        self.before = now

    def _between(self, one: Snapshot, other: Snapshot) -> tuple[Mapping[str, changes.Change], ...]:
        return changes.changes(one.kept, other.kept, self.names), changes.changes(one.active, other.active, self.names)

    def _since(self, now: Snapshot) -> Callable[[str], Row]:
        """What changed since the step before, by parameter."""
        before = self.before
        if before is None:
            nothing = ("born", "died", "active_born", "active_died", "units_born", "units_died")
            return lambda name: {**dict.fromkeys(nothing, 0), "overlap_before": nan, "active_overlap_before": nan}
        found = self._between(before, now)

        def row(name: str) -> Row:
            kept, active = (changed(each, name) for each in found)
            born, died = unit_changes(before, now, self.places, name)
            return {
                "born": kept.born, "died": kept.died, "active_born": active.born, "active_died": active.died,
                "units_born": born, "units_died": died, **_overlaps(found, name, "before"),
            }  # fmt: skip

        return row

    def _ever_shares(self, name: str, connections: int) -> Row:
        names = (name,) if name else self.names
        kept, active = (sum(part[each].count() for each in names) for part in self.ever or ({}, {}))
        return {"itop": kept / max(1, connections), "active_itop": active / max(1, connections)}

    def _deaths(self, step: Step, now: Snapshot) -> Callable[[str], int]:
        """Note who died and who came back; how many units each parameter's drops were enough to cut."""
        if self.before is None:
            return lambda name: 0
        self._note_lives(step, self.before, now)
        if not self.causes:
            found = _without_causes(self.before, now)
        else:
            found = deaths(self.base, self.before, now)
        self._note_deaths(step, found)
        cut = dict(zip(found.names, np.count_nonzero(found.cut, axis=1).tolist()))
        return lambda name: cut.get(name, 0) if name else int(found.cut.any(0).sum()) if found.names else 0

    def _note_lives(self, step: Step, before: Snapshot, now: Snapshot) -> None:
        for unit in np.flatnonzero(now.live & ~before.live & (self.died_last >= 0)).tolist():
            self.deaths[self.died_last[unit]]["back"] = step.number

    def _note_deaths(self, step: Step, found: Deaths) -> None:
        causes = found.cut_by() if self.causes else [""] * len(found.units)
        self.died_last[found.units] = len(self.deaths) + np.arange(len(found.units))
        for layer, unit, lost, cut_by in zip(*within_layers(self.base, found.units), found.lost(), causes):
            told = {"step": step.number, "layer": layer, "unit": unit}
            self.deaths.append({**told, "lost": lost, "cut_by": cut_by, "back": None})


def _overlaps(found: Iterable[Mapping[str, changes.Change]], name: str, with_whom: str) -> Row:
    kept, active = (changed(each, name).overlap for each in found)
    return {f"overlap_{with_whom}": kept, f"active_overlap_{with_whom}": active}


def _without_causes(before: Snapshot, now: Snapshot) -> Deaths:
    units = np.flatnonzero(before.live & ~now.live)
    starved, stranded = ~now.units["signal"][units], ~now.units["reaches"][units]
    return Deaths(units, starved, stranded, (), np.empty((0, len(units)), bool))

"""A run from its first checkpoint to its last: what changes from step to step, and what was ever there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.changes import ever
from graphsparse.runs.deaths import deaths
from graphsparse.runs.rows import Places, Row, change_row, changes_of, overlap_row, rows_of, scope_of
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
    """What is known of a run up to a step. ``rows`` and ``deaths`` grow; ``before`` and ``ever`` are of the step before."""

    base: LayeredGraph
    last: Snapshot
    causes: bool = True
    rows: list[Row] = field(default_factory=list)
    deaths: list[Row] = field(default_factory=list)
    before: Snapshot | None = None
    ever: tuple[dict[str, Mask] | None, dict[str, Mask] | None] = (None, None)

    def __post_init__(self) -> None:
        self.places = Places.of(self.base)
        self.names = tuple(self.base.shapes)
        self.died_last = np.full(self.base.n_units, -1)  # where each unit's last death stands among the deaths

    def add(self, step: Step, now: Snapshot) -> None:
        """Go on to the next checkpoint."""
        kept, active = (ever(of, part, self.names) for of, part in zip(self.ever, (now.kept, now.active)))
        found, since, cut = rows_of(now, self.places), self._since(now), self._deaths(step, now)
        to_last = changes_of(now, self.last, self.names)
        for place, row in found.items():
            names, connections = (place,) if place else self.names, max(1, row["connections"])
            self.rows.append({
                "step": step.number, "checkpoint": step.name, **scope_of(place), **row, **since(place),
                **overlap_row(to_last[place], "_last"),
                "itop": sum(kept[name].count() for name in names) / connections,
                "active_itop": sum(active[name].count() for name in names) / connections,
                "units_cut": cut[place],
            })  # fmt: skip
        self.before, self.ever = now, (kept, active)

    def _since(self, now: Snapshot) -> Callable[[str], Row]:
        """What changed since the step before, by place."""
        before = self.before
        if before is None:
            nothing = ("born", "died", "active_born", "active_died", "units_born", "units_died")
            return lambda place: {**dict.fromkeys(nothing, 0), "overlap_before": nan, "active_overlap_before": nan}
        found, units = changes_of(before, now, self.names), self.places.units
        return lambda place: {
            **change_row(found[place], before, now, units[place]), **overlap_row(found[place], "_before"),
        }  # fmt: skip

    def _deaths(self, step: Step, now: Snapshot) -> Counter[str]:
        """Note who came back and who died; how many units each parameter's drops were enough to cut, in all under ""."""
        if self.before is None:
            return Counter()
        for unit in np.flatnonzero(now.live & ~self.before.live & (self.died_last >= 0)).tolist():
            self.deaths[self.died_last[unit]]["back"] = step.number
        found = deaths(self.base, self.before, now, self.causes)
        self.died_last[found.units] = len(self.deaths) + np.arange(len(found.units))
        self.deaths += [{"step": step.number, **row, "back": None} for row in found.rows(self.base)]
        return found.cut_counts()

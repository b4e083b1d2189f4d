"""The numbers of one checkpoint, and of its change since another, in all and by parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.measures.sparsity import compression_of, fed_units, sparsity_of
from graphsparse.metrics.changes import Change, changes, in_all
from graphsparse.metrics.ends import prunable_units
from graphsparse.runs.snapshot import Snapshot

ALL, PARAMETER = "all", "parameter"
Row = dict[str, Any]
Pair = tuple[Change, Change]
"""The change of what is kept, and that of what is active."""


@dataclass(frozen=True, eq=False)
class Places:
    """What rows of numbers are of: the whole network, under "", and each parameter.

    ``units`` (n_units,) flags the units there; those of a parameter are the units that it feeds. ``prunable`` (n_units,)
    flags the units at an end of a connection, kept or not.
    """

    units: Mapping[str, np.ndarray]
    prunable: np.ndarray

    @classmethod
    def of(cls, base: LayeredGraph) -> Places:
        """Of a network."""
        units = {"": np.ones(base.n_units, bool)}
        for name in base.shapes:
            first, fed = fed_units(base, name)
            units[name] = np.zeros(base.n_units, bool)
            units[name][first : first + len(fed)] = fed
        return cls(units, prunable_units(base))


def scope_of(place: str) -> Row:
    """Whether a row is of all or of a parameter, and of which."""
    return {"scope": PARAMETER if place else ALL, "place": place}


def rows_of(snapshot: Snapshot, places: Places) -> dict[str, Row]:
    """The numbers of one checkpoint, by place."""
    counts = {name: _counts(snapshot, name) for name in places.units if name}
    counts[""] = tuple(map(sum, zip((0, 0, 0), *counts.values())))
    return {
        name: {
            **_shares(*counts[name]),
            **_of_units(snapshot, units, units if name else places.prunable),
            **_fan_in(*snapshot.fan_in.get(name, (nan, nan, nan, nan))),
        }
        for name, units in places.units.items()
    }


def _counts(snapshot: Snapshot, name: str) -> tuple[int, ...]:
    kept = snapshot.kept[name]
    return kept.size, kept.count(), snapshot.active[name].count()


def _shares(connections: int, kept: int, active: int) -> Row:
    return {
        "connections": connections,
        "kept": kept,
        "active": active,
        "direct": sparsity_of(kept, connections),
        "effective": sparsity_of(active, connections),
        "direct_compression": compression_of(kept, connections),
        "effective_compression": compression_of(active, connections),
        "collapsed": active == 0 < connections,
    }


def _of_units(snapshot: Snapshot, units: np.ndarray, prunable: np.ndarray) -> Row:
    """Counts of units; ``anp`` and ``active_anp`` are shares of the prunable ones."""
    flags = snapshot.units
    of = max(1, _count(prunable))
    return {
        "units": _count(units),
        "live": _count(snapshot.live & units),
        "starved": _count(~flags["signal"] & units),
        "stranded": _count(~flags["reaches"] & units),
        "anp": _count(flags["joined"] & prunable) / of,
        "active_anp": _count(flags["joined_active"] & prunable) / of,
    }


def _fan_in(mean: float, deviation: float, active_mean: float, active_deviation: float) -> Row:
    return {
        "fan_in": mean,
        "fan_in_variation": deviation / mean if mean else nan,
        "active_fan_in_variation": active_deviation / active_mean if active_mean else nan,
    }


def _count(flags: np.ndarray) -> int:
    return int(np.count_nonzero(flags))


def changes_of(before: Snapshot, after: Snapshot, names: Iterable[str]) -> dict[str, Pair]:
    """What changed from one checkpoint to another, by parameter; under "" all together."""
    names = list(names)
    kept, active = changes(before.kept, after.kept, names), changes(before.active, after.active, names)
    return {"": (in_all(kept), in_all(active)), **{name: (kept[name], active[name]) for name in names}}


def change_row(change: Pair, before: Snapshot, after: Snapshot, units: np.ndarray) -> Row:
    """Births and deaths of connections, and of these units."""
    (kept, active), old, new = change, before.live, after.live
    return {
        "born": kept.born,
        "died": kept.died,
        "active_born": active.born,
        "active_died": active.died,
        "units_born": _count(new & ~old & units),
        "units_died": _count(old & ~new & units),
    }


def overlap_row(change: Pair, ending: str = "") -> Row:
    """Intersection over union of what is kept and of what is active."""
    kept, active = change
    return {f"overlap{ending}": kept.overlap, f"active_overlap{ending}": active.overlap}

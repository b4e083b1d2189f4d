"""The numbers of one checkpoint, and of its change since another, in all and by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.measures.sparsity import compression_of, fed_units, sparsity_of
from graphsparse.metrics.changes import Change, in_all
from graphsparse.metrics.parts import touched
from graphsparse.runs.snapshot import Snapshot

ALL = "all"
PARAMETER = "parameter"
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Places:
    """What numbers are of: of everything, and of each parameter with the units that it feeds; bool arrays (n_units,).

    ``prunable`` are the units at an end of a connection, kept or not.
    """

    units: Mapping[str, np.ndarray]
    prunable: np.ndarray

    @classmethod
    def of(cls, base: LayeredGraph) -> Places:
        """Of a network."""
        whole = {key: Mask.whole(mask.shape) for key, mask in base.kept.items()}
        return cls({name: _fed(base, name) for name in base.shapes}, touched(base, whole))


def _fed(base: LayeredGraph, name: str) -> np.ndarray:
    first, fed = fed_units(base, name)
    flags = np.zeros(base.n_units, bool)
    flags[first : first + len(fed)] = fed
    return flags


def rows_of(snapshot: Snapshot, places: Places) -> dict[str, Row]:
    """The numbers of one checkpoint, by parameter; under "" those of all."""
    by_name = {name: _counts(snapshot, name) for name in places.units}
    total = {key: sum(row[key] for row in by_name.values()) for key in ("connections", "kept", "active")}
    everything = np.ones(len(places.prunable), bool)
    rows = {"": {**_shares(total), **_of_units(snapshot, everything, places.prunable), "fan_in": nan}}
    rows[""] |= {"fan_in_variation": nan, "active_fan_in_variation": nan}
    for name, fed in places.units.items():
        rows[name] = {**_shares(by_name[name]), **_of_units(snapshot, fed, fed), **_fan_in(snapshot, name)}
    return rows


def _counts(snapshot: Snapshot, name: str) -> dict[str, int]:
    kept = snapshot.kept[name]
    return {"connections": kept.size, "kept": kept.count(), "active": snapshot.active[name].count()}


def _shares(counts: dict[str, int]) -> Row:
    connections, kept, active = counts["connections"], counts["kept"], counts["active"]
    return {
        **counts,
        "direct": sparsity_of(kept, connections),
        "effective": sparsity_of(active, connections),
        "direct_compression": compression_of(kept, connections),
        "effective_compression": compression_of(active, connections),
        "collapsed": active == 0 < connections,
    }


def _of_units(snapshot: Snapshot, units: np.ndarray, prunable: np.ndarray) -> Row:
    """Counts of units; ``anp`` and ``active_anp`` are shares of the prunable ones."""
    signal, reaches = snapshot.units["signal"], snapshot.units["reaches"]

    def count(flags: np.ndarray) -> int:
        return int(np.count_nonzero(flags & units))

    of = max(1, int(np.count_nonzero(prunable)))
    return {
        "units": int(np.count_nonzero(units)),
        "live": count(signal & reaches),
        "starved": count(~signal),
        "stranded": count(~reaches),
        "anp": int(np.count_nonzero(snapshot.units["joined"] & prunable)) / of,
        "active_anp": int(np.count_nonzero(snapshot.units["joined_active"] & prunable)) / of,
    }


def _fan_in(snapshot: Snapshot, name: str) -> Row:
    mean, deviation, active_mean, active_deviation = snapshot.fan_in[name]
    return {
        "fan_in": mean,
        "fan_in_variation": deviation / mean if mean else nan,
        "active_fan_in_variation": active_deviation / active_mean if active_mean else nan,
    }


def changed(found: Mapping[str, Change], name: str) -> Change:
    """The change of one parameter, or of all together for ""."""
    return found[name] if name else in_all(found)


def unit_changes(before: Snapshot, after: Snapshot, places: Places, name: str) -> tuple[int, int]:
    """How many units came to life and how many died, of all or of those that a parameter feeds."""
    old, new = before.live, after.live
    units = places.units[name] if name else np.ones(len(old), bool)
    return int(np.count_nonzero(new & ~old & units)), int(np.count_nonzero(old & ~new & units))

"""Metrics of two masks of one network: rows of the table of `graphsparse.compare_masks`, each over a `Pair` of parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.metrics.changes import Change, changes
from graphsparse.metrics.matching import LARGEST, Rows, distances
from graphsparse.metrics.parts import Once, Part
from graphsparse.metrics.table import Found, fraction, metric

Asked = Any
"""A `Pair`; `metric` types its functions as those of one part."""


@dataclass(frozen=True, eq=False)
class Pair(Once):
    """The same part of one network under two masks: of ``one`` and of the ``other``."""

    one: Part
    other: Part
    rows: Rows

    @property
    def graph(self) -> LayeredGraph:
        """The network, under the masks of ``one``."""
        return self.one.graph

    @property
    def changes(self) -> dict[str, Change]:
        """What both have in common and what each has alone, by parameter."""
        return self.once(_changes)


def _changes(pair: Pair) -> dict[str, Change]:
    return changes(pair.one.masks, pair.other.masks, pair.graph.shapes)


def _counted(pair: Asked, field: str) -> Found:
    return Found.of_parameters({name: float(getattr(found, field)) for name, found in pair.changes.items()})


@metric("comparison", "connections")
def either(pair: Asked) -> Found:
    """Connections that either mask has. Cost: a pass over the masks as bits."""
    return _counted(pair, "either")


@metric("comparison", "connections")
def intersection(pair: Asked) -> Found:
    """Connections that both masks have. Cost: a pass over the masks as bits."""
    return _counted(pair, "both")


@metric("comparison", "connections")
def only_in_one(pair: Asked) -> Found:
    """Connections that the first mask has and the other has not. Cost: a pass over the masks as bits."""
    return _counted(pair, "died")


@metric("comparison", "connections")
def only_in_other(pair: Asked) -> Found:
    """Connections that the other mask has and the first has not. Cost: a pass over the masks as bits."""
    return _counted(pair, "born")


@metric("comparison", "fraction")
def intersection_over_union(pair: Asked) -> Found:
    """`intersection` / `either` (Jaccard index). Undefined where neither mask has a connection. Cost: that of both."""
    found = _share(pair)
    return Found(found.total, None, found.parameters, "neither mask has a connection")


@metric("comparison", "units")
def units_in_either(pair: Asked) -> Found:
    """Units that a connection of either mask joins, by layer. Cost: the sweeps of both masks."""
    return _units(pair, lambda a, b: a | b)


@metric("comparison", "units")
def units_in_both(pair: Asked) -> Found:
    """Units that a connection of each mask joins. Cost: as `units_in_either`."""
    return _units(pair, lambda a, b: a & b)


@metric("comparison", "units")
def units_only_in_one(pair: Asked) -> Found:
    """Units that a connection of the first mask joins and none of the other. Cost: as `units_in_either`."""
    return _units(pair, lambda a, b: a & ~b)


@metric("comparison", "units")
def units_only_in_other(pair: Asked) -> Found:
    """Units that a connection of the other mask joins and none of the first. Cost: as `units_in_either`."""
    return _units(pair, lambda a, b: b & ~a)


@metric("comparison", "fraction")
def units_intersection_over_union(pair: Asked) -> Found:
    """`units_in_both` / `units_in_either`. Undefined where neither mask joins a unit. Cost: that of both."""
    found = _units_share(pair)
    return Found(found.total, found.layers, None, "neither mask joins a unit")


@metric("comparison", "fraction")
def topological_distance(pair: Asked) -> Found:
    """NNSTD (Liu et al. 2020, arXiv 2006.14085): how different connections are once units are matched; 0: the same network.

    The distance of two rows of kernels (output channels) is the share, of the connections that either has, of those that
    only one has; 0 where neither has any. Rows are matched so that the mean distance is least, parameter by parameter
    in the network's order, and the next parameter's columns go with the rows that they come from. In all: the mean over
    parameters. The network's outputs, what several kernels add up to (a skip) and operands of products (gates, attention)
    stay in their place, for their order is not free. The published code knows fully connected layers alone, matches outputs
    too, and drops the last input of every layer. Undefined above 5,000 rows. Cost: the assignment (SciPy), at worst the cube
    of the rows.
    """
    values = distances(pair.one, pair.other, pair.rows)
    defined = [value for value in values.values() if not np.isnan(value)]
    in_order = {name: values[name] for name in pair.graph.shapes}
    return Found(float(np.mean(defined)) if defined else np.nan, None, in_order, f"more than {LARGEST:,} rows to match")


def _units(pair: Asked, joined: Any) -> Found:
    return Found.of_units(pair.one, joined(pair.one.joined, pair.other.joined))


_share = fraction(intersection, either).function
_units_share = fraction(units_in_both, units_in_either).function

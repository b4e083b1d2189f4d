"""Metrics of two masks of one network: rows of the table of `graphsparse.compare_masks`, each over a `Pair` of parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.metrics.changes import Change, changes
from graphsparse.metrics.matching import LARGEST, Rows, distances
from graphsparse.metrics.parts import Once, Part
from graphsparse.metrics.table import Found, Metric, fraction, metric

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


def _changes(pair: Pair) -> dict[str, Change]:
    return changes(pair.one.masks, pair.other.masks, pair.graph.shapes)


def _connections(pair: Asked, field: str) -> Found:
    return Found.of_parameters({name: float(getattr(each, field)) for name, each in pair.once(_changes).items()})


def _units(pair: Asked, joined: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Found:
    return Found.of_units(pair.one, joined(pair.one.joined, pair.other.joined))


either, intersection, only_in_one, only_in_other = (
    Metric(name, "comparison", "connections", partial(_connections, field=field),
           f"Connections that {text}. Cost: a pass over the masks as bits.")
    for name, field, text in (
        ("either", "either", "either mask has"),
        ("intersection", "both", "both masks have"),
        ("only_in_one", "died", "the first mask has and the other has not"),
        ("only_in_other", "born", "the other mask has and the first has not"),
    )
)  # fmt: skip


@metric("comparison", "fraction")
def intersection_over_union(pair: Asked) -> Found:
    """`intersection` / `either` (Jaccard index). Undefined where neither mask has a connection. Cost: that of both."""
    return replace(fraction(intersection, either)(pair), undefined="neither mask has a connection")


units_in_either, units_in_both, units_only_in_one, units_only_in_other = (
    Metric(name, "comparison", "units", partial(_units, joined=joined), f"Units that a connection of {text}.")
    for name, joined, text in (
        ("units_in_either", np.logical_or, "either mask joins, by layer. Cost: the sweeps of both masks"),
        ("units_in_both", np.logical_and, "each mask joins. Cost: as `units_in_either`"),
        ("units_only_in_one", np.greater, "the first mask joins and none of the other. Cost: as `units_in_either`"),
        ("units_only_in_other", np.less, "the other mask joins and none of the first. Cost: as `units_in_either`"),
    )
)


@metric("comparison", "fraction")
def units_intersection_over_union(pair: Asked) -> Found:
    """`units_in_both` / `units_in_either`. Undefined where neither mask joins a unit. Cost: that of both."""
    return replace(fraction(units_in_both, units_in_either)(pair), undefined="neither mask joins a unit")


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
    found = distances(pair.one, pair.other, pair.rows)
    in_order = {name: found[name] for name in pair.graph.shapes}
    return Found.over_parameters(in_order, np.mean, f"more than {LARGEST:,} rows to match")

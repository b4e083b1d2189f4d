"""Paths from sources to sinks: how many, how long, and how many connections a dead one lacks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphsparse.algebras import MAX_PLUS, PLUS_TIMES, SHORTEST, as_pairs
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.listed import Entries, Listed
from graphsparse.passes.revival import REVIVAL
from graphsparse.sweep import Reach, sweep


def path_counts(graph: LayeredGraph, weights: Mapping[str, np.ndarray] | None = None) -> Reach:
    """How many source-sink paths lead through each unit and connection, as pairs (see `graphsparse.algebras`).

    A path follows kept connections, one at each position where a shared kernel acts, and wires; it passes a product
    through either operand, where the other is not zero. ``weights`` (no less than 0, by parameter) count each path with
    the product of its weights: SynFlow's score of a connection is its entry of `Reach.connections` then.
    """
    values = {}
    for name in graph.shapes:
        kept = graph.kept[name].unpack()
        values[name] = as_pairs(np.where(kept, 1.0 if weights is None else weights[name], 0.0))
    return sweep(graph, values, PLUS_TIMES)


def revival_costs(graph: LayeredGraph) -> Reach:
    """The fewest dropped connections that must come back for each unit and connection to lie on a source-sink path.

    A dropped connection counts itself. Where a path goes through products, the cost of the other operand is added; what
    both operands lack is then counted twice, so the cost is an upper bound there and exact in graphs without products.
    Infinite where no connections at all would do.
    """
    entries = {name: Entries(graph.kept[name]) for name in (*graph.shapes, *graph.uses)}
    return sweep(graph, {name: Listed(each, np.zeros(len(each.flat))) for name, each in entries.items()}, REVIVAL)


def shortest_paths(graph: LayeredGraph) -> Reach:
    """The fewest kept connections on a source-sink path through each unit and connection; wires count nothing."""
    return sweep(graph, _lengths(graph, np.inf), SHORTEST)


def longest_paths(graph: LayeredGraph) -> Reach:
    """The most kept connections on a source-sink path through each unit and connection; wires count nothing."""
    return sweep(graph, _lengths(graph, -np.inf), MAX_PLUS)


def _lengths(graph: LayeredGraph, dropped: float) -> dict[str, np.ndarray]:
    return {name: np.where(graph.kept[name].unpack(), np.float32(1), np.float32(dropped)) for name in graph.shapes}

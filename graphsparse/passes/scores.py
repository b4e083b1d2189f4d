"""Effective scores: for every connection the highest threshold at which it is still active, by one sweep in (max, min).

Liveness is a monotone circuit of "and" and "or" over "score >= t", so replacing (or, and) by (max, min) gives the
highest t itself. A connection is active among those with score >= t exactly where its effective score is >= t.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphsparse.algebras import MAX_MIN, MAX_MIN_64
from graphsparse.arrays import as_array, by_name
from graphsparse.errors import MaskError
from graphsparse.given_masks import unknown_name
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.kernels.numbers import Numbers
from graphsparse.kernels.threads import each
from graphsparse.sweep import sweep


def effective_scores(graph: LayeredGraph, scores: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`graphsparse.effective_scores` as arrays: float64 where any score is, else float32.

    A bias or scale has no score: it is there or not, by the graph's masks.
    """
    algebra, values = under_masks(graph, scores)
    return sweep(graph, values, algebra).connections()


def under_masks(graph: LayeredGraph, scores: Mapping[str, Any]) -> tuple[Numbers, dict[str, np.ndarray]]:
    """The algebra of scores, and for each parameter those that count: minus infinity where its mask drops a connection."""
    aliases, shapes, given = checked_graph(graph).aliases, graph.shapes, by_name(scores, "scores")
    given = {aliases.get(name, name): as_array(name, array, "score") for name, array in given.items()}
    for name in given.keys() - shapes.keys():
        raise unknown_name("scores must go by the graph's parameters", name, list(shapes))
    algebra = MAX_MIN_64 if any(array.dtype.itemsize > 4 for array in given.values()) else MAX_MIN
    work = graph.n_connections * algebra.dtype.itemsize
    found = each(lambda name: _under_mask(graph, name, given.get(name), algebra.dtype), shapes, work)
    return algebra, dict(zip(shapes, found))


def _under_mask(graph: LayeredGraph, name: str, scores: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    shape = tuple(graph.shapes[name])
    if scores is None:
        scores = np.full(shape, np.inf, dtype)
    if scores.shape != shape:
        raise MaskError(
            "a score must have the shape of its parameter", place=name, received=scores.shape, way_out=f"give {shape}"
        )
    if scores.size and np.isnan(np.min(scores)):  # a minimum hands NaN on, at the speed of memory
        raise MaskError("a score must be a number", place=name, received="NaN", way_out="replace it before pruning")
    mask = graph.kept[name]
    if not mask.complete:
        scores = np.where(mask.unpack(), scores, -np.inf)
    return np.ascontiguousarray(scores, dtype)

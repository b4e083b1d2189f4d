"""Effective scores: for every connection the highest threshold at which it is still active, by one sweep in (max, min).

Liveness is a monotone circuit of "and" and "or" over "score >= t", so replacing (or, and) by (max, min) gives the
highest t itself. A connection is active among those with score >= t exactly where its effective score is >= t.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphsparse.algebras import MAX_MIN, MAX_MIN_64
from graphsparse.errors import MaskError
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.threads import each
from graphsparse.sweep import sweep


def effective_scores(graph: LayeredGraph, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Effective scores of every parameter, in its shape; minus infinity where a connection is never active.

    ``scores`` are floats, greater is kept longer, in the parameters' shapes. Kernels without scores are always kept
    (plus infinity); connections that the graph's masks drop never are. The result is float64 where any score is, else
    float32. A bias or scale has no score: it is there or not, by the graph's masks.

    Raises:
        MaskError: a score is NaN, or does not fit its parameter.
    """
    scores = {graph.aliases.get(name, name): np.asarray(array) for name, array in scores.items()}
    wide = any(array.dtype.itemsize > 4 for array in scores.values())
    algebra = MAX_MIN_64 if wide else MAX_MIN
    work = graph.n_connections * algebra.dtype.itemsize
    checked = each(lambda name: _checked(graph, name, scores.get(name), algebra.dtype), graph.shapes, work)
    values = dict(zip(graph.shapes, checked))
    for name in set(scores) - set(graph.shapes):
        raise MaskError(
            "scores must go by the graph's parameters", place=name, way_out=f"use {', '.join(list(graph.shapes)[:6])}"
        )
    return sweep(graph, values, algebra).connections()


def _checked(graph: LayeredGraph, name: str, scores: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    """Scores under the mask, in the algebra's type."""
    shape = tuple(graph.shapes[name])
    if scores is None:
        scores = np.full(shape, np.inf, dtype)
    if scores.shape != shape:
        raise MaskError(
            "a score must have the shape of its parameter", place=name, received=scores.shape, way_out=f"give {shape}"
        )
    if scores.size and np.isnan(np.min(scores)):  # a minimum hands NaN on, at the speed of memory
        raise MaskError("a score must be a number", place=name, received="NaN", way_out="replace it before pruning")
    scores = scores.astype(dtype, copy=False)
    kept = graph.masks[name].unpack() if name in graph.masks else None
    if kept is not None and not kept.all():
        scores = np.where(kept, scores, -np.inf).astype(dtype, copy=False)
    return np.ascontiguousarray(scores)

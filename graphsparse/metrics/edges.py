"""Passes over values of units, and over the edges of a csr, in which every edge leads from a lesser to a greater id."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from graphsparse.kernels.compiling import compiled


def entering(matrix: sparse.csr_array, rows: np.ndarray | None = None) -> np.ndarray:
    """How many entries each column has, in all rows or in some, without a copy of the indices."""
    counts = np.zeros(matrix.shape[1], np.int32)
    count_into(matrix.indptr, matrix.indices, np.arange(matrix.shape[0]) if rows is None else rows, counts)
    return counts


def between(
    matrix: sparse.csr_array, origin: np.ndarray, target: np.ndarray, count: int | None = None
) -> sparse.csr_array:
    """The entries of a csr of bool from a row in ``origin`` to a column in ``target``; the csr itself if these are all.

    ``count`` is their number where that is known; else memory for all entries is asked for.
    """
    if count == matrix.nnz:
        return matrix
    starts = np.zeros_like(matrix.indptr)
    indices = np.empty((matrix.nnz if count is None else count) + 1, matrix.indices.dtype)
    fill_between(matrix.indptr, matrix.indices, origin, target, starts, indices)
    if starts[-1] == matrix.nnz:
        return matrix
    indices = indices[:-1] if count is not None else indices[: starts[-1]].copy()
    return sparse.csr_array((matrix.data[: len(indices)], indices, starts), matrix.shape)  # all entries are True


@compiled
def count_into(starts: Any, indices: Any, rows: Any, counts: Any) -> None:
    """Add to each unit the edges that enter it from ``rows``."""
    for u in rows:
        for e in range(starts[u], starts[u + 1]):
            counts[indices[e]] += 1


@compiled
def add_up(values: Any, bounds: Any, sums: Any) -> None:
    """Add up the values from each of ``bounds`` to the next: NumPy's sum first makes 64 bits of small numbers."""
    for i in range(sums.size):
        for u in range(bounds[i], bounds[i + 1]):
            sums[i] += values[u]


@compiled
def fill_between(starts: Any, indices: Any, origin: Any, target: Any, new_starts: Any, into: Any) -> Any:
    """Write the edges from an ``origin`` to a ``target`` as the two arrays of a csr, in the order that they have.

    ``into`` has one place too many: without a branch each target is written, and the next one over it where it does not
    count.
    """
    place = 0
    for u in range(starts.size - 1):
        if origin[u]:
            for e in range(starts[u], starts[u + 1]):
                into[place] = indices[e]
                place += target[indices[e]]
        new_starts[u + 1] = place

"""Dominators of a layered graph, by one pass in the order of the unit ids, and what dies with each unit and edge.

Every edge leads from a lesser to a greater id. So when a unit's turn comes its predecessors have theirs behind them, and
its immediate dominator is their nearest common ancestor in the tree so far: exact on graphs without cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from graphsparse.kernels.compiling import compiled

OUTSIDE = -2
"""No dominator: a unit that is not on a path. The root above all sources (or sinks) is -1."""
ROOT = -1


@dataclass(frozen=True, eq=False)
class Dominators:
    """Of every unit of an active graph the last unit that all its paths from a source share, and likewise to a sink.

    ``forwards`` and ``backwards`` are (n_units,): the immediate dominator and post-dominator, -1 (`ROOT`) where paths
    share no unit, -2 (`OUTSIDE`) for units that are not live. ``edges`` is the csr of the active edges.
    """

    edges: sparse.csr_array
    transposed: sparse.csr_array
    forwards: np.ndarray
    backwards: np.ndarray

    @classmethod
    def of(cls, edges: sparse.csr_array, sources: np.ndarray, sinks: np.ndarray, live: np.ndarray) -> Dominators:
        """The dominators of a graph whose every edge lies on a path from a source to a sink."""
        transposed = sparse.csr_array(edges.T.tocsr())
        n = edges.shape[0]
        is_source, is_sink = _flags(n, sources), _flags(n, sinks)
        forwards, backwards = np.full(n, OUTSIDE, np.int32), np.full(n, OUTSIDE, np.int32)
        depth = np.zeros(n, np.int32)
        _dominate(transposed.indptr, transposed.indices, is_source & live, live, forwards, depth, False)
        _dominate(edges.indptr, edges.indices, is_sink & live, live, backwards, depth, True)
        return cls(edges, transposed, forwards, backwards)

    @cached_property
    def _behind(self) -> np.ndarray:
        """How many edges leave the units that each unit dominates, itself included."""
        total = np.diff(self.edges.indptr).astype(np.int64)
        _gather(self.forwards, total, True)
        return total

    @cached_property
    def _before(self) -> np.ndarray:
        """How many edges enter the units that each unit post-dominates, itself included."""
        total = np.diff(self.transposed.indptr).astype(np.int64)
        _gather(self.backwards, total, False)
        return total

    @property
    def retained_by_units(self) -> np.ndarray:
        """How many edges lie on no path any more once a unit is gone, (n_units,).

        An edge dies with a unit that dominates its origin or post-dominates its target; never both, by order.
        """
        return self._behind + self._before

    @property
    def retained_by_edges(self) -> np.ndarray:
        """How many edges lie on no path any more once an edge is gone, itself included, in the order of the csr.

        What its target dominates dies too where it is the only way in, and what its origin post-dominates where it is
        the only way out.
        """
        only_in, only_out = self._only_in, (np.diff(self.edges.indptr) == 1) & (self.backwards != ROOT)
        targets = self.edges.indices
        after = np.where(only_in[targets], self._behind[targets], 0)
        before = np.repeat(np.where(only_out, self._before, 0), np.diff(self.edges.indptr))
        return 1 + after + before

    @property
    def _only_in(self) -> np.ndarray:
        """Which units have one edge as their only way in: sources have another, so they hang from the root."""
        return (np.diff(self.transposed.indptr) == 1) & (self.forwards != ROOT)

    def unavoidable(self, sinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The units, and the edges (their places in the csr), through which every source-sink path goes."""
        ends = np.unique(sinks[self.forwards[sinks] != OUTSIDE])
        if not len(ends):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        units = _common(self.forwards, ends)
        within = units[self._only_in[units]].tolist()
        edges = [
            _place(self.edges, int(self.transposed.indices[self.transposed.indptr[unit]]), unit) for unit in within
        ]
        return units, np.asarray(edges, np.int64)


def _place(matrix: sparse.csr_array, row: int, column: int) -> int:
    start, stop = matrix.indptr[row], matrix.indptr[row + 1]
    return int(start + np.flatnonzero(matrix.indices[start:stop] == column)[0])


def _common(tree: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The units that dominate all of these, ascending."""
    unit = int(ends[-1])
    for other in ends[:-1].tolist():
        while unit != other:  # the greater id is never above the lesser one
            if unit > other:
                unit = int(tree[unit])
            else:
                other = int(tree[other])
        if unit == ROOT:
            break
    chain = []
    while unit != ROOT:
        chain.append(unit)
        unit = int(tree[unit])
    return np.asarray(chain[::-1], np.int64)


def _flags(n: int, units: np.ndarray) -> np.ndarray:
    flags = np.zeros(n, bool)
    flags[units] = True
    return flags


@compiled
def _dominate(starts, indices, first, live, tree, depth, falling):
    n = starts.size - 1
    for i in range(n):
        v = n - 1 - i if falling else i
        if not live[v]:
            continue
        found, begun = -1, first[v]
        for e in range(starts[v], starts[v + 1]):
            u = indices[e]
            if not begun:
                found, begun = u, True
                continue
            while found != u and found != -1:
                if depth[u] > depth[found]:
                    u = tree[u]
                elif depth[u] < depth[found]:
                    found = tree[found]
                else:
                    u, found = tree[u], tree[found]
            if found == -1:
                break
        tree[v] = found
        depth[v] = 0 if found == -1 else depth[found] + 1


@compiled
def _gather(tree, total, falling):
    n = tree.size
    for i in range(n):
        v = n - 1 - i if falling else i
        if tree[v] >= 0:
            total[tree[v]] += total[v]

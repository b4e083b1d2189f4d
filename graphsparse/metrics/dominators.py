"""Dominators of a layered graph, by one pass in the order of the unit ids, and what dies with each unit and edge.

Every edge leads from a lesser to a greater id. So all predecessors of a unit come before it, and its immediate dominator is
their nearest common ancestor in the tree so far: exact on graphs without cycles. Forwards each unit hands itself on to its
targets, backwards it looks at them, so that one csr serves both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from graphsparse.kernels.compiling import compiled, inlined

OUTSIDE = -2
"""No dominator: a unit that is not on a path. The root above all sources (or sinks) is -1."""
ROOT = -1


@dataclass(frozen=True, eq=False)
class Dominators:
    """For each unit the last unit that all paths from sources to it share, and the first that all paths on to sinks share.

    These are its immediate dominator and post-dominator, ``forwards`` and ``backwards`` (n_units,): -1 (`ROOT`) where paths
    share no unit, -2 (`OUTSIDE`) for units that are not live. ``edges`` is the csr of the active edges, ``entering`` (n_units,)
    how many of them enter each unit.
    """

    edges: sparse.csr_array
    forwards: np.ndarray
    backwards: np.ndarray
    entering: np.ndarray

    @classmethod
    def of(
        cls, edges: sparse.csr_array, entering: np.ndarray, sources: np.ndarray, sinks: np.ndarray, live: np.ndarray
    ) -> Dominators:
        """The dominators of a graph whose every edge lies on a path from a source to a sink."""
        is_source, is_sink = np.zeros((2, len(live)), bool)
        is_source[sources] = is_sink[sinks] = True
        forwards, backwards = np.full((2, len(live)), OUTSIDE, np.int32)
        depth = np.zeros(len(live), np.int32)
        _dominate(edges.indptr, edges.indices, is_source, live, forwards, depth)
        _post_dominate(edges.indptr, edges.indices, is_sink, live, backwards, depth)
        return cls(edges, forwards, backwards, entering)

    @cached_property
    def _behind(self) -> np.ndarray:
        """How many edges leave the units that each unit dominates, itself included."""
        total = np.diff(self.edges.indptr)
        _gather(self.forwards, total, True)
        return total

    @cached_property
    def _before(self) -> np.ndarray:
        """How many edges enter the units that each unit post-dominates, itself included."""
        total = self.entering.astype(self.edges.indptr.dtype)
        _gather(self.backwards, total, False)
        return total

    @property
    def retained_by_units(self) -> np.ndarray:
        """How many edges lie on no path any more once a unit is gone, (n_units,).

        An edge dies with a unit that dominates its origin or post-dominates its target; no unit does both.
        """
        return self._behind + self._before

    @property
    def retained_by_edges(self) -> np.ndarray:
        """How many edges lie on no path any more once an edge is gone, itself included, in the order of the csr.

        Where it is the only way into its target, what that dominates dies too; where it is the only way out of its
        origin, what that post-dominates.
        """
        after, before = self._with_an_edge
        return 1 + after[self.edges.indices] + np.repeat(before, np.diff(self.edges.indptr))

    @cached_property
    def most_retained_by_edges(self) -> np.ndarray:
        """The greatest of `retained_by_edges` of the edges into each unit, (n_units,); -1 where there are none."""
        after, before = self._with_an_edge
        alone = np.flatnonzero(before)  # units with one edge out: only with these edges more dies before them
        greatest = np.zeros_like(after)
        np.maximum.at(greatest, self.edges.indices[self.edges.indptr[alone]], before[alone])
        return np.where(self.entering > 0, 1 + after + greatest, -1)

    @property
    def _with_an_edge(self) -> tuple[np.ndarray, np.ndarray]:
        """How many edges die behind each unit with any edge into it, and before each unit with any edge out of it."""
        only_out = (np.diff(self.edges.indptr) == 1) & (self.backwards != ROOT)
        return np.where(self._only_in, self._behind, 0), np.where(only_out, self._before, 0)

    @property
    def _only_in(self) -> np.ndarray:
        """Which units have one edge as their only way in; a source, which needs none, hangs from the root."""
        return (self.entering == 1) & (self.forwards != ROOT)

    def unavoidable(self, sinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The units, and the edges (their places in the csr), through which every source-sink path goes."""
        ends = np.unique(sinks[self.forwards[sinks] != OUTSIDE])
        if not len(ends):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        units = _common(self.forwards, ends)
        edges, starts = [], self.edges.indptr
        for unit in units[self._only_in[units]]:  # the origin of the one way in dominates
            origin = self.forwards[unit]
            row = self.edges.indices[starts[origin] : starts[origin + 1]]
            edges.append(starts[origin] + np.flatnonzero(row == unit)[0])
        return units, np.asarray(edges, np.int64)


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


@inlined
def _nearest(tree: Any, depth: Any, u: Any, found: Any) -> Any:
    """The nearest common ancestor of two units, or the root."""
    while found != u and found != -1:
        if depth[u] > depth[found]:
            u = tree[u]
        elif depth[u] < depth[found]:
            found = tree[found]
        else:
            u, found = tree[u], tree[found]
    return found


@compiled
def _dominate(starts: Any, indices: Any, first: Any, live: Any, tree: Any, depth: Any) -> Any:
    for u in range(starts.size - 1):
        if not live[u]:
            continue
        if first[u]:
            tree[u] = -1
        depth[u] = 0 if tree[u] == -1 else depth[tree[u]] + 1
        for e in range(starts[u], starts[u + 1]):
            v = indices[e]
            if tree[v] == -2:
                tree[v] = u
            elif tree[v] != -1 and tree[v] != u:
                tree[v] = _nearest(tree, depth, u, tree[v])


@compiled
def _post_dominate(starts: Any, indices: Any, first: Any, live: Any, tree: Any, depth: Any) -> Any:
    for u in range(starts.size - 2, -1, -1):
        if not live[u]:
            continue
        found = -1 if first[u] else -2
        for e in range(starts[u], starts[u + 1]):
            if found == -1:
                break
            found = indices[e] if found == -2 else _nearest(tree, depth, indices[e], found)
        tree[u] = found
        depth[u] = 0 if found == -1 else depth[found] + 1


@compiled
def _gather(tree: Any, total: Any, falling: Any) -> Any:
    n = tree.size
    for i in range(n):
        v = n - 1 - i if falling else i
        if tree[v] >= 0:
            total[tree[v]] += total[v]

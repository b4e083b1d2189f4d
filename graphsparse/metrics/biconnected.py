"""Blocks of a graph, kept up edge by edge: its weak components, its bridges and its articulation points in one pass.

A block is a largest set of units that the loss of no single unit splits; directions do not matter. Units and blocks make a
forest: a unit hangs from the block ``held`` above it, a block from its unit ``top``. A new edge either lies within a block,
or joins all blocks on the way between its ends, or hangs the smaller of two trees below the other (Westbrook and Tarjan
1992, Maintaining bridge-connected and biconnected components on-line). Almost all edges lie within a block already, so a
pass costs little more than reading the csr, and asks for no transposed one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from graphsparse.kernels.compiling import compiled, inlined


WAITS = -2


class Forest(NamedTuple):
    """Units (n_units,) and blocks (as many at most). The root of a set holds its size, below zero: ``component`` of units,
    ``block`` of blocks that became one. ``held`` is the block above a unit, -1 for a root; ``top`` the unit above a block.
    ``seen`` (2, n_units) marks units and blocks on a way; ``made`` counts blocks, and ways."""

    component: np.ndarray
    block: np.ndarray
    held: np.ndarray
    top: np.ndarray
    seen: np.ndarray
    made: np.ndarray

    @classmethod
    def of(cls, n_units: int) -> Forest:
        """Units without an edge."""
        none = (np.full(n_units, -1, np.int32) for _ in range(4))
        return cls(*none, np.full((2, n_units), -1, np.int32), np.zeros(2, np.int64))

    def insert(self, edges: sparse.csr_array) -> None:
        """Add the edges of a csr (n_units, n_units); those that are there already change nothing."""
        _insert(edges.indptr, edges.indices, self)

    def sizes(self) -> np.ndarray:
        """The number of units of each weak component that has an edge."""
        return -self.component[self.component < -1]

    def bridges(self) -> tuple[np.ndarray, np.ndarray]:
        """Both ends of each edge that is a block by itself, the lesser id first."""
        units = np.flatnonzero(self.held >= 0)
        units = units[self.block[self.held[units]] == -1]
        above = self.top[self.held[units]]
        return np.minimum(units, above), np.maximum(units, above)

    def articulation(self) -> np.ndarray:
        """Which units lie in two blocks or more, bool (n_units,)."""
        roots = np.flatnonzero(self.block[: self.made[0]] < 0)
        return np.bincount(self.top[roots], minlength=len(self.held)) + (self.held >= 0) > 1


@inlined
def _root(above: Any, x: Any) -> Any:
    while above[x] >= 0:
        if above[above[x]] >= 0:
            above[x] = above[above[x]]
        x = above[x]
    return x


@inlined
def _union(above: Any, a: Any, b: Any) -> Any:
    """The root of two sets made one, by their size; ``a`` below zero is none."""
    if a < 0 or a == b:
        return b
    if above[a] > above[b]:
        a, b = b, a
    above[a] += above[b]
    above[b] = a
    return a


@inlined
def _block(forest: Any, u: Any) -> Any:
    """The block above a unit, -1 for a root."""
    found = forest.held[u]
    if found >= 0:
        found = _root(forest.block, found)
        forest.held[u] = found
    return found


@inlined
def _common(forest: Any, u: Any, v: Any, above_u: Any, above_v: Any) -> Any:
    """The block that holds both of two units, -1 where there is none; by the blocks above them."""
    if above_u >= 0 and (above_u == above_v or forest.top[above_u] == v):
        return above_u
    return above_v if above_v >= 0 and forest.top[above_v] == u else -1


@compiled
def _insert(starts: Any, indices: Any, forest: Any) -> None:
    held = forest.held
    for u in range(starts.size - 1):
        if starts[u] == starts[u + 1]:
            continue
        _settle(forest, u)
        mine = _block(forest, u)
        for e in range(starts[u], starts[u + 1]):
            v = indices[e]
            if held[v] == mine >= 0 or held[v] == WAITS - u:
                continue
            if held[v] == -1 and forest.component[v] == -1:
                held[v] = WAITS - u
            elif held[v] >= -1 or not _enter(forest, u, v, mine):
                _join(forest, u, v, mine)
                mine = _block(forest, u)
    for u in range(starts.size - 1):
        _settle(forest, u)


@inlined
def _settle(forest: Any, u: Any) -> None:
    """Hang a unit that waits below the one unit that it is joined to."""
    if forest.held[u] <= WAITS:
        above = WAITS - forest.held[u]
        forest.held[u] = -1
        _hang(forest, u, above)
        _union(forest.component, _root(forest.component, above), u)


@inlined
def _enter(forest: Any, u: Any, v: Any, mine: Any) -> Any:
    """Put ``v``, which waits, into the block of ``u`` if that also holds the unit that it waits for."""
    first = WAITS - forest.held[v]
    block = _common(forest, u, first, mine, _block(forest, first))
    if block < 0:
        return False
    forest.held[v] = block
    forest.block[block] -= 1
    _union(forest.component, _root(forest.component, u), v)
    return True


@inlined
def _join(forest: Any, u: Any, v: Any, mine: Any) -> None:
    """Add an edge between two units that hang where they belong, after ``v`` has settled."""
    _settle(forest, v)
    if _common(forest, u, v, mine, _block(forest, v)) >= 0:
        return
    a, b = _root(forest.component, u), _root(forest.component, v)
    if a == b:
        _close(forest, u, v)
        return
    if forest.component[a] < forest.component[b]:
        _hang(forest, v, u)
    else:
        _hang(forest, u, v)
    _union(forest.component, a, b)


@inlined
def _hang(forest: Any, u: Any, v: Any) -> None:
    """Make ``u`` the root of its tree, and hang it below ``v`` by a block of their own."""
    block = forest.made[0]
    forest.made[0] += 1
    forest.top[block] = v
    while True:
        above = _block(forest, u)
        forest.held[u] = block
        if above < 0:
            return
        forest.top[above], u, block = u, forest.top[above], above


@inlined
def _close(forest: Any, u: Any, v: Any) -> None:
    """Make all blocks on the way between two units of a tree one."""
    unit, block = _meeting(forest, u, v)
    top = forest.top[block] if block >= 0 else unit
    merged = _climb(forest, u, unit, block, -1)
    merged = _climb(forest, v, unit, block, merged)
    forest.top[merged] = top


@inlined
def _climb(forest: Any, u: Any, unit: Any, block: Any, merged: Any) -> Any:
    """Join the blocks above a unit to those ``merged``, up to the meeting; the root of them all."""
    while u != unit:
        here = _block(forest, u)
        if here == merged:  # the other way has brought this one, the meeting
            break
        u = forest.top[here]
        merged = _union(forest.block, merged, here)
        if here == block:
            break
    return merged


@inlined
def _meeting(forest: Any, u: Any, v: Any) -> Any:
    """Where the ways up from two units of a tree meet: a unit and -1, or -1 and a block. Both climb in turn."""
    forest.made[1] += 1
    mine, others = 2 * forest.made[1], 2 * forest.made[1] + 1
    forest.seen[0, u], forest.seen[0, v] = mine, others
    while True:
        block = _block(forest, u)
        if block >= 0:
            if forest.seen[1, block] == others:
                return -1, block
            forest.seen[1, block] = mine
            u = forest.top[block]
            if forest.seen[0, u] == others:
                return u, -1
            forest.seen[0, u] = mine
        u, v, mine, others = v, u, others, mine

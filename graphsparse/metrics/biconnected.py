"""Blocks of a graph, kept up edge by edge: its weak components, its bridges and its articulation points in one pass.

A block is a largest set of units that no loss of a single unit splits; directions do not matter. Units and blocks make a
forest: a unit hangs from the block ``held`` above it, a block from its unit ``top``. A new edge lies within a block, or joins
all blocks on the way between its ends, or hangs the smaller of two trees below the other (Westbrook and Tarjan 1992,
Maintaining bridge-connected and biconnected components on-line). Almost all edges lie within a block already, so a pass
costs little more than reading the csr, and needs no transposed one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from graphsparse.kernels.compiling import compiled, inlined

COMPONENT, BLOCK, HELD, TOP, SEEN_UNITS, SEEN_BLOCKS = range(6)
WAITS = -2


@dataclass(frozen=True, eq=False)
class Forest:
    """Units and blocks in the rows of one ``table`` (6, n_units + 1): compiled loops hand on one array faster than six.

    `COMPONENT` and `BLOCK` hold sets, of units and of blocks that became one; the root of a set holds its size, below zero.
    `HELD` is the block above a unit, -1 for a root; `TOP` the unit above a block. While edges are added, a unit with one
    edge so far only notes its other end in `HELD`, as `WAITS` less that id. `SEEN_UNITS` and `SEEN_BLOCKS` mark those on a
    way; their last places hold how many ways, and blocks, there have been.
    """

    table: np.ndarray
    n_units: int

    @classmethod
    def of(cls, n_units: int) -> Forest:
        """Units without an edge."""
        table = np.full((6, n_units + 1), -1, np.int32)
        table[[SEEN_UNITS, SEEN_BLOCKS], -1] = 0
        return cls(table, n_units)

    def insert(self, edges: sparse.csr_array, rows: np.ndarray | None = None) -> None:
        """Add the edges of a csr (n_units, n_units), or of some of its rows; edges that are there already change nothing."""
        rows = np.arange(self.n_units) if rows is None else rows
        _insert(edges.indptr, edges.indices, rows, self.table)


@inlined
def _root(forest: Any, row: Any, x: Any) -> Any:
    while forest[row, x] >= 0:
        if forest[row, forest[row, x]] >= 0:
            forest[row, x] = forest[row, forest[row, x]]
        x = forest[row, x]
    return x


@inlined
def _union(forest: Any, row: Any, a: Any, b: Any) -> Any:
    """Make two sets one, the smaller below the larger; its root. ``a`` below zero is no set."""
    if a < 0 or a == b:
        return b
    if forest[row, a] > forest[row, b]:
        a, b = b, a
    forest[row, a] += forest[row, b]
    forest[row, b] = a
    return a


@inlined
def _block(forest: Any, u: Any) -> Any:
    """The block above a unit, -1 for a root."""
    found = forest[HELD, u]
    if found >= 0:
        found = _root(forest, BLOCK, found)
        forest[HELD, u] = found
    return found


@inlined
def _common(forest: Any, u: Any, v: Any, above_u: Any, above_v: Any) -> Any:
    """The block that holds both of two units, found by the blocks above them; -1 where there is none."""
    if above_u >= 0 and (above_u == above_v or forest[TOP, above_u] == v):
        return above_u
    return above_v if above_v >= 0 and forest[TOP, above_v] == u else -1


@compiled
def _insert(starts: Any, indices: Any, rows: Any, forest: Any) -> None:
    held = forest[HELD]
    for u in rows:
        if starts[u] == starts[u + 1]:
            continue
        _settle(forest, u)
        mine = _block(forest, u)
        e = _next(held, indices, starts[u], starts[u + 1], mine)
        while e < starts[u + 1]:
            mine = _add(forest, u, indices[e], mine)
            e = _next(held, indices, e + 1, starts[u + 1], mine)
    for u in range(starts.size - 1):
        _settle(forest, u)


@inlined
def _next(held: Any, indices: Any, e: Any, stop: Any, mine: Any) -> Any:
    """The next edge that, as far as is known, leads out of the block ``mine``: a loop so short that it is fast."""
    while e < stop and mine >= 0 and held[indices[e]] == mine:
        e += 1
    return e


@inlined
def _add(forest: Any, u: Any, v: Any, mine: Any) -> Any:
    """Add an edge; return the block that is above ``u`` then."""
    held = forest[HELD, v]
    if held == WAITS - u:
        return mine
    if held == -1 and forest[COMPONENT, v] == -1:
        forest[HELD, v] = WAITS - u
        return mine
    if held <= WAITS and _enter(forest, u, v, mine):
        return mine
    _join(forest, u, v, mine)
    return _block(forest, u)


@inlined
def _settle(forest: Any, u: Any) -> None:
    """Hang a unit that waits below the one unit that it is joined to."""
    if forest[HELD, u] <= WAITS:
        above = WAITS - forest[HELD, u]
        forest[HELD, u] = -1
        _hang(forest, u, above)
        _union(forest, COMPONENT, _root(forest, COMPONENT, above), u)


@inlined
def _enter(forest: Any, u: Any, v: Any, mine: Any) -> Any:
    """Put ``v``, which waits, into the block of ``u`` if that also holds the unit that it waits for."""
    first = WAITS - forest[HELD, v]
    block = _common(forest, u, first, mine, _block(forest, first))
    if block < 0:
        return False
    forest[HELD, v] = block
    forest[BLOCK, block] -= 1
    _union(forest, COMPONENT, _root(forest, COMPONENT, u), v)
    return True


@inlined
def _join(forest: Any, u: Any, v: Any, mine: Any) -> None:
    """Add an edge between two units that hang where they belong, after ``v`` has settled."""
    _settle(forest, v)
    if _common(forest, u, v, mine, _block(forest, v)) >= 0:
        return
    a, b = _root(forest, COMPONENT, u), _root(forest, COMPONENT, v)
    if a == b:
        _close(forest, u, v)
        return
    if forest[COMPONENT, a] < forest[COMPONENT, b]:
        _hang(forest, v, u)
    else:
        _hang(forest, u, v)
    _union(forest, COMPONENT, a, b)


@inlined
def _hang(forest: Any, u: Any, v: Any) -> None:
    """Make ``u`` the root of its tree, and hang it below ``v`` by a block of their own."""
    block = forest[SEEN_BLOCKS, -1]
    forest[SEEN_BLOCKS, -1] += 1
    forest[TOP, block] = v
    while True:
        above = _block(forest, u)
        forest[HELD, u] = block
        if above < 0:
            return
        forest[TOP, above], u, block = u, forest[TOP, above], above


@inlined
def _close(forest: Any, u: Any, v: Any) -> None:
    """Make all blocks on the way between two units of a tree one."""
    unit, block = _meeting(forest, u, v)
    top = forest[TOP, block] if block >= 0 else unit
    merged = _climb(forest, u, unit, block, -1)
    merged = _climb(forest, v, unit, block, merged)
    forest[TOP, merged] = top


@inlined
def _climb(forest: Any, u: Any, unit: Any, block: Any, merged: Any) -> Any:
    """Join the blocks above a unit, up to the meeting, to those ``merged``; the root of them all."""
    while u != unit:
        here = _block(forest, u)
        if here == merged:  # the other way has brought this one, the meeting
            break
        u = forest[TOP, here]
        merged = _union(forest, BLOCK, merged, here)
        if here == block:
            break
    return merged


@inlined
def _meeting(forest: Any, u: Any, v: Any) -> Any:
    """Where the ways up from two units of a tree meet: a unit and -1, or -1 and a block. Both climb in turn."""
    forest[SEEN_UNITS, -1] += 1
    mine, others = 2 * forest[SEEN_UNITS, -1], 2 * forest[SEEN_UNITS, -1] + 1
    forest[SEEN_UNITS, u], forest[SEEN_UNITS, v] = mine, others
    while True:
        block = _block(forest, u)
        if block >= 0:
            if forest[SEEN_BLOCKS, block] == others:
                return -1, block
            forest[SEEN_BLOCKS, block] = mine
            u = forest[TOP, block]
            if forest[SEEN_UNITS, u] == others:
                return u, -1
            forest[SEEN_UNITS, u] = mine
        u, v, mine, others = v, u, others, mine

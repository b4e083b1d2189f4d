"""Bridges and articulation points: what holds the graph together where the direction of edges does not matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric


@dataclass(frozen=True, eq=False)
class Bridges:
    """``sources`` and ``targets`` (bridges,) are the unit ids of the bridges; ``articulation`` (n_units,) marks units."""

    sources: np.ndarray
    targets: np.ndarray
    articulation: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, edges: sparse.csr_array) -> Bridges:
        """The bridges of a graph (n_units, n_units) in which every edge leads to a greater unit id.

        One search in depth without recursion (Hopcroft and Tarjan 1973, Algorithm 447). A unit's neighbours are those
        that it feeds and then those that feed it, so no symmetric matrix is made: 4 bytes per edge and 17 per unit
        beside the csr.

        Example:
            >>> path = sparse.csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], bool))
            >>> found = Bridges.of(path)
            >>> found.sources.tolist(), found.targets.tolist(), found.articulation.tolist()
            ([0, 1], [1, 2], [False, True, False])
        """
        into = edges.tocsc()
        above, bridge, articulation = _search(edges.indptr, edges.indices, into.indptr, into.indices)
        units = np.flatnonzero(bridge)
        return cls(np.minimum(units, above[units]), np.maximum(units, above[units]), articulation)


@compiled
def _search(starts: Any, indices: Any, starts_in: Any, indices_in: Any) -> Any:
    n = starts.size - 1
    above, seen, low = np.full(n, -1, np.int32), np.full(n, -1, np.int32), np.zeros(n, np.int32)
    place = np.zeros(n, np.int32)  # how many of a unit's neighbours have been looked at
    bridge, articulation = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    time = 0
    for root in range(n):
        if seen[root] >= 0:
            continue
        branches, v = 0, root
        seen[v] = low[v] = time
        time += 1
        while True:
            outs = starts[v + 1] - starts[v]
            if place[v] < outs + starts_in[v + 1] - starts_in[v]:
                if place[v] < outs:
                    w = indices[starts[v] + place[v]]
                else:
                    w = indices_in[starts_in[v] + place[v] - outs]
                place[v] += 1
                if seen[w] < 0:
                    above[w] = v
                    seen[w] = low[w] = time
                    time += 1
                    v = w
                elif w != above[v]:
                    low[v] = min(low[v], seen[w])
                continue
            u = above[v]
            if u < 0:
                break
            low[u] = min(low[u], low[v])
            bridge[v] = low[v] > seen[u]
            if u == root:
                branches += 1
            elif low[v] >= seen[u]:
                articulation[u] = True
            v = u
        articulation[root] = branches > 1
    return above, bridge, articulation


@metric("fragility", "edges")
def bridges(part: Part) -> Found:
    """Edges whose loss splits a weak component ("cut edges" of Cunegatti et al. 2024), by the layer of their target.

    Directions do not matter here; `unavoidable_edges` are those that every source-sink path needs. Cost: one search in
    depth over the edges, 4 bytes per edge.
    """
    found = part.once(_bridges)
    return Found.of_units(part, np.bincount(found.targets, minlength=part.graph.n_units))


@metric("fragility", "units")
def articulation_points(part: Part) -> Found:
    """Units whose loss splits a weak component ("cut nodes" of Cunegatti et al. 2024). Cost: as `bridges`, shared."""
    return Found.of_units(part, part.once(_bridges).articulation)


def _bridges(part: Part) -> Bridges:
    return Bridges.of(part.edges)

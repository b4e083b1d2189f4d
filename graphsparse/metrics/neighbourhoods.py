"""How many units lie within one and two hops of a unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.degrees import of_units
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric

MOST_EDGES = 10_000_000


@metric("structure", "units per unit")
def mean_within_one_hop(part: Part) -> Found:
    """Mean number of units that one edge leads to from a unit of the part, the unit itself included, sinks left out.

    ("1-hop" of Cunegatti et al. 2024, over all units; they count sinks too, and so have 1 + edges / units.) Parallel
    connections between two units are one edge. Cost: as `edges`.
    """
    return of_units(part, part.out_degrees + 1, np.mean, out=True)


@metric("structure", "units per unit", limit=MOST_EDGES)
def mean_within_two_hops(part: Part) -> Found:
    """Mean number of units that at most two edges lead to from a unit of the part, itself included, sinks left out.

    ("2-hop" of Cunegatti et al. 2024.) Cost: for each edge, a pass over the edges that leave its target.
    """
    within = np.zeros(part.graph.n_units, np.int64)
    _count_within_two(part.edges.indptr, part.edges.indices, np.full(part.graph.n_units, -1, np.int64), within)
    return of_units(part, within, np.mean, out=True)


@compiled
def _count_within_two(starts: Any, indices: Any, seen: Any, within: Any) -> Any:
    """Write how many units are within two edges of each unit; ``seen`` says from which unit each was last met."""
    for u in range(starts.size - 1):
        found, seen[u] = 1, u
        for e in range(starts[u], starts[u + 1]):
            v = indices[e]
            if seen[v] != u:
                seen[v] = u
                found += 1
            for f in range(starts[v], starts[v + 1]):
                w = indices[f]
                if seen[w] != u:
                    seen[w] = u
                    found += 1
        within[u] = found

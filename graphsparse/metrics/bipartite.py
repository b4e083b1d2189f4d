"""Metrics of the bipartite graph of a parameter: rank, butterflies, small subgraphs, clustering.

The graph is in the encoding that is asked for: by channel, rolled or unrolled (`graphsparse.metrics.encodings`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import structural_rank

from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.encodings import layer_graphs
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric, rows_of_parameters

Count = Callable[[sparse.csr_array], float]


def _of_each(part: Part, count: Count) -> dict[str, float]:
    return {name: count(each) for name, each in part.once(layer_graphs).items()}


def _degrees(edges: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    return np.diff(edges.indptr).astype(float), np.bincount(edges.indices, minlength=edges.shape[1]).astype(float)


def _three_paths(edges: sparse.csr_array) -> float:
    left, right = _degrees(edges)
    return float(np.repeat(left - 1, np.diff(edges.indptr)) @ (right[edges.indices] - 1))


def _stars(edges: sparse.csr_array) -> float:
    """A node and three of its neighbours."""
    return float(sum((d * (d - 1) * (d - 2) / 6).sum() for d in _degrees(edges)))


def count_butterflies(edges: sparse.csr_array) -> float:
    """The cycles of length four of a bipartite graph, a bool csr without repeated entries."""
    left, right = _degrees(edges)
    other = edges.tocsc()
    sides = (edges.indptr, edges.indices), (other.indptr, other.indices)
    if (left @ left) < (right @ right):  # each pair of edges at one node of a side is a step to another node
        sides = sides[1], sides[0]
    return float(_closed(*sides[0], *sides[1]))


@compiled
def _closed(starts: Any, indices: Any, starts_back: Any, indices_back: Any) -> Any:
    common, pairs = np.zeros(starts.size - 1, np.int64), 0.0
    for u in range(starts.size - 1):
        for e in range(starts[u], starts[u + 1]):
            middle = indices[e]
            for f in range(starts_back[middle], starts_back[middle + 1]):
                v = indices_back[f]
                if v >= u:  # in ascending order: the others are counted from their own side
                    break
                pairs += common[v]
                common[v] += 1
        for e in range(starts[u], starts[u + 1]):
            middle = indices[e]
            for f in range(starts_back[middle], starts_back[middle + 1]):
                if indices_back[f] >= u:
                    break
                common[indices_back[f]] = 0
    return pairs


COUNTS = rows_of_parameters("structure", "edges", (
    ("structural_rank", "full_rank", lambda part: _of_each(part, lambda edges: structural_rank(edges) if edges.nnz else 0),
     "The rank that the mask allows: the most edges of the bipartite graph no two of which share a node. Almost all "
     "weights under the mask have this rank (structural rank: Duff et al. 1986). Cost: maximum bipartite matching (SciPy), "
     "in the worst case the edges times the root of the nodes."),
    ("full_rank", "", lambda part: _of_each(part, lambda edges: min(edges.shape)),
     "The smaller number of nodes of the two sides: no rank is greater; the same for both parts. Cost: a pass over the "
     "edges."),
)) + rows_of_parameters("structure", "butterflies", (
    ("butterflies", "", lambda part: part.once(_of_each, count_butterflies),
     "Cycles of four edges of a parameter's bipartite graph: two inputs and two outputs, all joined. From the products "
     "A A': pairs of nodes with c common neighbours have c (c - 1) / 2 (Wang et al. 2014). Exact. Cost: the squared "
     "degrees of one side, that with the smaller sum; some 10^9 of them per second."),
)) + rows_of_parameters("structure", "paths", (
    ("three_paths", "", lambda part: part.once(_of_each, _three_paths),
     "Paths of three edges in a parameter's bipartite graph, in any direction; the denominator of `clustering`. Cost: a "
     "pass over the edges."),
))  # fmt: skip


@metric("structure", "ratio")
def clustering(part: Part) -> Found:
    """Clustering coefficient of Robins and Alexander (2004): 4 butterflies / three_paths, how many such paths close.

    Cost: that of both.
    """
    closed, every = part.once(_of_each, count_butterflies), part.once(_of_each, _three_paths)
    ratio = lambda above, below: 4 * above / below if below else np.nan
    values = {name: ratio(count, every[name]) for name, count in closed.items()}
    return Found(ratio(sum(closed.values()), sum(every.values())), None, values, "there is no path of three edges")


@metric("structure", "subgraphs")
def connected_fours(part: Part) -> Found:
    """Sets of four nodes that edges of a parameter's bipartite graph join (motifs of size 4), exactly.

    Without odd cycles they are stars, paths of three and butterflies; each butterfly holds four of the paths. Cunegatti
    et al. 2024 estimate their number from a sample, over all layers at once (`sampled_fours`). Cost: as `butterflies`.
    """
    closed, every, stars = (part.once(_of_each, count) for count in (count_butterflies, _three_paths, _stars))
    return Found.of_parameters({name: stars[name] + every[name] - 3 * count for name, count in closed.items()})

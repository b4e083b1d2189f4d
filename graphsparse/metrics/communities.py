"""Metrics of neighbourhoods, of cores and communities (by scikit-network), and of small subgraphs sampled by igraph."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.encodings import layer_graphs
from graphsparse.metrics.fits import NO_UNITS
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, library, metric

NO_EDGES, NO_UNIT = "there are no edges", "no unit of the part"
# edges up to which a table of all metrics has rows of libraries that take long, and goes two hops from every unit
MOST_EDGES, MOST_HOPS = 5_000_000, 10_000_000
SUBGRAPHS = 20_000_000


@metric("structure", "units per unit")
def mean_within_one_hop(part: Part) -> Found:
    """Mean number of units that one edge leads to from a unit of the part, the unit itself included, sinks left out.

    ("1-hop" of Cunegatti et al. 2024, over all units; they count sinks too, and so have 1 + edges / units.) Parallel
    connections between two units are one edge. Cost: as `edges`.
    """
    return Found.over_units(part, part.out_degrees + 1, part.inner("out"), np.mean, NO_UNITS)


@metric("structure", "units per unit", limit=MOST_HOPS)
def mean_within_two_hops(part: Part) -> Found:
    """Mean number of units that at most two edges lead to from a unit of the part, itself included, sinks left out.

    ("2-hop" of Cunegatti et al. 2024.) Cost: for each edge, a pass over the edges that leave its target.
    """
    within = np.zeros(part.graph.n_units, np.int64)
    _count_within_two(part.edges.indptr, part.edges.indices, np.full(part.graph.n_units, -1, np.int64), within)
    return Found.over_units(part, within, part.inner("out"), np.mean, NO_UNITS)


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


@metric("structure", "edges per unit", limit=MOST_EDGES)
def mean_coreness(part: Part) -> Found:
    """Mean coreness of the part's units, in all and by layer ("k-core" of Cunegatti et al. 2024): the greatest k such that
    the unit lies in a subgraph where each has k edges, in or out.

    Cost: a symmetric csr and a pass over it (scikit-network).
    """
    return Found.over_units(part, part.once(coreness), part.units, np.mean, NO_UNIT)


@metric("structure", "edges per unit", limit=MOST_EDGES)
def greatest_coreness(part: Part) -> Found:
    """The greatest coreness of the part's units, in all and by layer. Cost: as `mean_coreness`, shared."""
    return Found.over_units(part, part.once(coreness), part.units, np.max, NO_UNIT)


@metric("structure", "modularity", limit=MOST_EDGES)
def modularity(part: Part) -> Found:
    """Modularity of the communities that Louvain's method finds: in all of the undirected graph, by parameter of its
    bipartite graph (Barber 2007).

    A lower bound of the best: the method goes through units in their order, so another order of units may find others;
    the same graph always has the same. Cost: some 10^6 edges per second (scikit-network).
    """
    return _of_louvain(part, 0)


@metric("structure", "communities", limit=MOST_EDGES)
def communities(part: Part) -> Found:
    """How many communities with an edge those of `modularity` are. Cost: shared with it."""
    return _of_louvain(part, 1)


def _of_louvain(part: Part, which: int) -> Found:
    found = part.once(_louvain)
    return Found(found[""][which], None, {name: found[name][which] for name in part.graph.shapes}, NO_EDGES)


@metric("structure", "subgraphs")
def sampled_fours(part: Part) -> Found:
    """Estimate of the sets of four units that edges join ("motifs" of Cunegatti et al. 2024), over all layers at once.

    Of the sets that begin at a sample of a thousandth of the units, at least 100 of them, drawn with seed 0 (RAND-ESU,
    igraph). Undefined where this would go through more than 2 10^7 sets: ask `sample_fours` there, with a smaller
    sample. `connected_fours` are exact, by parameter. Cost: up to a few seconds.
    """
    number = part.graph.n_units
    sample = max(100, number // 1000)
    if _subgraphs(part) * min(1.0, sample / max(number, 1)) > SUBGRAPHS:
        return Found(np.nan, undefined="more than 2 10^7 subgraphs in the sample: ask sample_fours with a smaller one")
    return Found(_sampled(part.edges, sample, 0))


def sample_fours(graph: LayeredGraph, sample: int, seed: int = 0, *, part: str = "kept") -> float:
    """An estimate of how many sets of four units edges join, from those that begin at a sample of the units.

    The edges of "kept" or "active"; directions do not matter. Exact where the sample has all units. Raises
    `MissingExtra` where igraph is not installed.

    Example:
        >>> import torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(3, 1), torch.zeros(1, 3), {})
        >>> sample_fours(graph, sample=4)
        1.0
    """
    return _sampled(Part(Swept(checked_graph(graph)), part).edges, sample, seed)


def _sampled(edges: sparse.csr_array, sample: int, seed: int) -> float:
    igraph = library("igraph", "igraph")
    number = edges.shape[0]
    units = np.sort(np.random.default_rng(seed).choice(number, min(sample, number), replace=False))
    drawn = igraph.Graph(n=number, edges=np.stack(edges.nonzero(), 1).astype(np.int64))
    return float(drawn.motifs_randesu_estimate(4, [0, 0, 0, 0], units.tolist())) if number else 0.0


def _subgraphs(part: Part) -> float:
    """An upper bound of the connected sets of four units: stars of a unit and three others, and paths of three edges."""
    degrees = (part.in_degrees + part.out_degrees).astype(float)
    ends = np.repeat(degrees - 1, part.out_degrees) @ (degrees[part.edges.indices] - 1)
    return float((degrees * (degrees - 1) * (degrees - 2) / 6).sum() + ends)


def coreness(part: Part) -> np.ndarray:
    """The coreness of each unit, (n_units,)."""
    decomposition = library("sknetwork.topology", "topology").get_core_decomposition
    edges = part.edges
    return np.asarray(decomposition(_symmetric(edges))) if edges.nnz else np.zeros(edges.shape[0], np.int64)


def _symmetric(edges: sparse.csr_array) -> sparse.csr_matrix:
    """The undirected graph; scikit-network asks for the older class of matrices."""
    return sparse.csr_matrix(edges + edges.T)


def _louvain(part: Part) -> dict[str, tuple[float, float]]:
    """Modularity and number of communities of the graph, under "", and of the parameters."""
    graphs = part.once(layer_graphs).items()
    found = {name: _communities(sparse.csr_matrix(each), True) for name, each in graphs}
    return {**found, "": _communities(_symmetric(part.edges), False)}


def _communities(edges: sparse.csr_matrix, bipartite: bool) -> tuple[float, float]:
    if not edges.nnz:
        return np.nan, np.nan
    rows, columns = labels_of(edges, bipartite)
    outs, ins = np.diff(edges.indptr), np.bincount(edges.indices, minlength=edges.shape[1])
    there = np.concatenate([rows[outs > 0], columns[ins > 0]])
    return _modularity(edges, rows, columns, outs, ins), float(len(np.unique(there)))


def _modularity(edges: sparse.csr_matrix, rows: np.ndarray, columns: np.ndarray, outs: Any, ins: Any) -> float:
    """The share of edges inside communities, less what it would be by chance (of a symmetric matrix it is Newman's).

    scikit-network's own takes a square bipartite matrix for one that is not bipartite.
    """
    inside = np.count_nonzero(np.repeat(rows, outs) == columns[edges.indices]) / edges.nnz
    size = 1 + max(rows.max(), columns.max())
    chance = np.bincount(rows, outs, size) @ np.bincount(columns, ins, size)
    return float(inside - chance / edges.nnz**2)


def labels_of(edges: sparse.csr_matrix, bipartite: bool) -> tuple[np.ndarray, np.ndarray]:
    """The communities of the rows and of the columns; of a graph that is not bipartite they are the same units."""
    louvain = library("sknetwork.clustering", "topology").Louvain
    method = louvain(return_probs=False, return_aggregate=False, sort_clusters=False, random_state=0)
    method.fit(edges, force_bipartite=bipartite)
    return (method.labels_row_, method.labels_col_) if bipartite else (method.labels_, method.labels_)

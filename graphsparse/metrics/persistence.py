"""Metrics of persistence: how long components of a layer's graph, or of the whole network's, last as weights fall.

All units are there at weight 1. Edges come by falling absolute weight, scaled so that the greatest of the network is 1. An
edge of weight w that joins two components ends one of them, which has then lasted 1 - w. Components that no connection
joins last until 0, so that every value is defined for the sparsest layer, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import minimum_spanning_tree

from graphsparse.algebras import MAX_MIN_64
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.metrics.encodings import layer_graphs, weights_lacking, without_weights
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.spectra import one_way
from graphsparse.metrics.table import Found, metric
from graphsparse.sweep import backwards, sweep

NO_WEIGHT = "no connection has a weight other than zero"
ALL_ALIKE = "a parameter's weights are all alike and cannot be standardised, or there are none"
LARGEST = 1_000_000_000  # edges times sinks up to which a table of all metrics holds deep graph persistence
TOO_LARGE = f"more than {LARGEST:,} edges times sinks: ask graphsparse.metrics.persistence.deep_graph_persistence"
SHIFT = 2.0  # SciPy's spanning tree takes an edge of weight 0 for none, and 1 - w of the strongest edge is 0


def persistence_of(weights: sparse.csr_array) -> float:
    """The neural persistence (2-norm) of a bipartite graph with weights from 0 to 1, by its biadjacency matrix.

    Each unit begins as a component; all but one end, and that one is left out.

    Example:
        >>> persistence_of(sparse.csr_array(np.array([[1.0, 0.5]])))
        0.5
    """
    tree = minimum_spanning_tree(one_way(weights, SHIFT - np.clip(weights.data, 0, 1)))
    lasted = tree.data - (SHIFT - 1)
    return float(np.sqrt(np.square(lasted).sum() + max(sum(weights.shape) - 1 - tree.nnz, 0)))


def deep_graph_persistence(graph: LayeredGraph, part: str = "kept") -> float:
    """Deep graph persistence of a network however many sinks it has, a sweep for each; NaN where it is undefined.

    As the metric of this name, which says what it is.

    Example:
        >>> import torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(3, 1, bias=False), torch.zeros(1, 3), {"weight": [[True, True, False]]})
        >>> round(deep_graph_persistence(graph), 6)  # two weights are as far from their mean: only the third lasts
        0.57735
    """
    found = _deep(Part(Swept(checked_graph(graph)), part)).total
    return np.nan if found is None else found


@metric("persistence", "persistence")
def neural_persistence(part: Part) -> Found:
    """2-norm of how long the components of a parameter's graph last (Rieck et al., ICLR 2019); in all the sum.

    The component that stays is left out; their code gives it 0 as its end. Cost: a sort of the edges.
    """
    return _by_layer(part, normalised=False)


@metric("persistence", "fraction")
def normalised_neural_persistence(part: Part) -> Found:
    """`neural_persistence` / sqrt(units of the parameter's graph - 1), which is the most that it can be; in all the mean.

    Units without an edge count. Girrbach et al. (TMLR 2023) show that it follows the variance of the weights. Cost: as
    `neural_persistence`.
    """
    return _by_layer(part, normalised=True)


@metric("persistence", "fraction")
def normalised_deep_graph_persistence(part: Part) -> Found:
    """Neural persistence of the whole network (deep graph persistence; Girrbach et al., TMLR 2023), normalised.

    A source and a sink are joined at the weight of the widest path between them; weights are standardised by parameter
    (over the part's connections), taken absolute, and scaled by the greatest of all. Wires are as wide as can be. Divided by
    sqrt(sources + sinks - 1). Theirs is for fully connected layers in a row. Cost: a sweep in (max, min) backwards
    per sink.
    """
    if len(part.graph.sinks) * part.edges.nnz > LARGEST:
        return Found(np.nan, undefined=TOO_LARGE)
    return part.once(_deep)


def _by_layer(part: Part, normalised: bool) -> Found:
    lacking = without_weights(part)
    if lacking:
        return lacking
    found = part.once(_persistences).items()
    values = {name: value / most if normalised else value for name, (value, most) in found}
    summary = np.mean if normalised else np.sum
    return Found.over_parameters(values or dict.fromkeys(part.graph.shapes, np.nan), summary, NO_WEIGHT)


def _persistences(part: Part) -> dict[str, tuple[float, float]]:
    """The persistence of each parameter and the most that it can be; nothing where no weight is other than zero."""
    graphs = part.once(layer_graphs, True)
    greatest = max((float(each.data.max()) for each in graphs.values() if each.nnz), default=0.0)
    most = {name: np.sqrt(max(sum(each.shape) - 1, 1)) for name, each in graphs.items()}
    # SciPy would multiply by the inverse of the greatest, which may be infinite
    scaled = lambda each: sparse.csr_array((each.data / greatest, each.indices, each.indptr), each.shape)
    return {name: (persistence_of(scaled(each)), most[name]) for name, each in graphs.items()} if greatest else {}


def _deep(part: Part) -> Found:
    lacking = part.once(weights_lacking)
    if lacking:
        return Found(np.nan, undefined=lacking)
    values = _standardised(part)
    if values is None:
        return Found(np.nan, undefined=ALL_ALIKE)
    graph = part.graph
    found = sweep(graph, values, MAX_MIN_64)
    widest = np.full(
        (len(graph.sources), len(graph.sinks)), -np.inf
    )  # of each pair, the least weight on the widest path
    for n, sink in enumerate(graph.sinks):
        alone = replace(graph, sinks=np.asarray([sink]))
        widest[:, n] = found.algebra.units(backwards(alone, found.values, found.state, found.algebra))[graph.sources]
    rows, columns = np.nonzero(widest > -np.inf)
    joined = sparse.coo_array((np.minimum(widest[rows, columns], 1), (rows, columns)), widest.shape).tocsr()
    return Found(persistence_of(joined) / float(np.sqrt(max(sum(widest.shape) - 1, 1))))


def _standardised(part: Part) -> dict[str, np.ndarray] | None:
    """The absolute standardised weights, 1 the greatest of all, minus infinity where the part has no connection."""
    found, greatest = {}, 0.0
    for name in part.graph.shapes:
        weights = np.asarray(part.graph.weights[name], np.float64)
        there = part.masks[name].unpack()
        found[name] = np.full(weights.shape, -np.inf)
        if there.any():
            spread = weights[there].std()
            if not spread:
                return None
            found[name][there] = np.abs((weights[there] - weights[there].mean()) / spread)
            greatest = max(greatest, float(found[name].max()))
    return {name: each / greatest for name, each in found.items()} if greatest else None

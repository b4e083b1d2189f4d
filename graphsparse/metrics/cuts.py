"""The minimum cut: the fewest connections whose loss leaves no path from a source to a sink."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from graphsparse import adjacency
from graphsparse.blocks import KernelBlock
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.metrics.parts import Swept, chosen


@dataclass(frozen=True, eq=False)
class Cut:
    """A minimum cut: its ``size`` and one set of edges, ``sources`` and ``targets`` (size,) unit ids.

    The size is NaN where wires alone join a source to a sink, so that no loss of connections cuts. A connection counts
    at each position where it acts; parallel ones (the taps of a kernel in channel resolution) count as one.
    """

    size: float
    sources: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)


def minimum_cut(graph: LayeredGraph) -> Cut:
    """Find the fewest edges of connections whose loss leaves no source-sink path; wires cannot be cut.

    By maximum flow (SciPy's Dinic), whose time grows faster than the edges. ``graph.layer_of`` names their layers.

    Example:
        >>> import torch, graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> graph = gs.export(layers, torch.zeros(1, 2), masks)
        >>> minimum_cut(graph).size
        1.0
    """
    return cut_of(Swept(checked_graph(graph)))


def cut_of(swept: Swept) -> Cut:
    """`minimum_cut` of a swept graph."""
    graph, none = swept.graph, np.empty(0, np.int64)
    connections, wires = _active(swept, kernels=True), _active(swept, kernels=False)
    limit = connections.nnz + 1  # no cut of connections is that large
    ends = _with_ends(wires, graph, limit)
    root, last = graph.n_units, graph.n_units + 1
    if last in breadth_first_order(ends, root, return_predecessors=False):
        return Cut(np.nan, none, none)
    capacities = sparse.csr_array(ends + _padded(connections, 1))
    capacities.sort_indices()
    flow = maximum_flow(capacities, root, last)
    left = sparse.csr_array(capacities - flow.flow)
    left.eliminate_zeros()
    reached = np.zeros(graph.n_units + 2, bool)
    reached[breadth_first_order(left, root, return_predecessors=False)] = True
    origins = np.repeat(np.arange(graph.n_units), np.diff(connections.indptr))
    crossing = reached[origins] & ~reached[connections.indices]
    return Cut(float(flow.flow_value), origins[crossing], connections.indices[crossing])


def _active(swept: Swept, kernels: bool) -> sparse.csr_array:
    """The active edges of connections, or those of wires and products."""
    layers = tuple(
        replace(layer, blocks=tuple(block for block in layer.blocks if isinstance(block, KernelBlock) == kernels))
        for layer in swept.conducting_layers
    )
    matrix = adjacency.build(layers, swept.graph.kept, swept.graph.cut)
    origins = np.repeat(np.arange(swept.graph.n_units), np.diff(matrix.indptr))
    return chosen(matrix, swept.liveness.signal[origins] & swept.liveness.reaches[matrix.indices])


def _padded(matrix: sparse.csr_array, capacity: int) -> sparse.csr_array:
    """The matrix with a row and column for the two ends, every entry of one capacity."""
    starts = np.append(matrix.indptr, [matrix.indptr[-1]] * 2).astype(np.int32)
    data = np.full(matrix.nnz, capacity, np.int32)
    return sparse.csr_array((data, matrix.indices.astype(np.int32), starts), (matrix.shape[0] + 2,) * 2)


def _with_ends(wires: sparse.csr_array, graph: LayeredGraph, capacity: int) -> sparse.csr_array:
    """The wires, an edge from one root to every source, and one from every sink to one last end."""
    n = graph.n_units
    sources, sinks = np.unique(graph.sources), np.unique(graph.sinks)
    rows = np.concatenate([np.full(len(sources), n), sinks]).astype(np.int32)
    columns = np.concatenate([sources, np.full(len(sinks), n + 1)]).astype(np.int32)
    data = np.full(len(rows), capacity, np.int32)
    ends = sparse.coo_array((data, (rows, columns)), (n + 2, n + 2)).tocsr()
    return sparse.csr_array(ends + _padded(wires, capacity))

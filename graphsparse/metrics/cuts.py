"""The minimum cut: the fewest connections whose loss leaves no path from a source to a sink."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from graphsparse import adjacency
from graphsparse.blocks import KernelBlock
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.metrics.edges import between
from graphsparse.metrics.parts import Swept


@dataclass(frozen=True, eq=False)
class Cut:
    """A minimum cut: its ``size`` and one set of edges, ``sources`` and ``targets`` (size,) unit ids.

    The size is NaN where wires alone join a source to a sink, so that no loss of connections parts them. A connection
    counts at each position where it acts; parallel ones (the taps of a kernel in channel resolution) count as one.
    """

    size: float
    sources: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)

    def table(self, graph: LayeredGraph) -> pandas.DataFrame:
        """A row per edge of the set and connection that it is: ``source``, ``target`` (unit ids), ``from_layer``,
        ``to_layer``, ``parameter`` and ``entry`` (flat index in the parameter).

        ``graph`` is the one that the cut is of. Parallel connections, which are one edge, have a row each.
        """
        number = lambda sources, targets: sources.astype(np.int64) * graph.n_units + targets
        edges, names = number(self.sources, self.targets), np.asarray([layer.name for layer in graph.layers], object)
        parts = []
        for block in (block for blocks in graph.kernels.values() for block in blocks):
            sources, targets, entries = block.pairs(graph.kept)
            here = np.isin(number(sources, targets), edges)
            parts.append({
                "source": sources[here], "target": targets[here], "from_layer": names[graph.owner[sources[here]]],
                "to_layer": names[graph.owner[targets[here]]], "parameter": block.parameter, "entry": entries[here],
            })  # fmt: skip
        none = pandas.DataFrame(columns=["source", "target", "from_layer", "to_layer", "parameter", "entry"])
        found = [pandas.DataFrame(part) for part in parts if len(part["source"])]
        return pandas.concat(found).drop_duplicates(ignore_index=True) if found else none


def minimum_cut(graph: LayeredGraph) -> Cut:
    """Find the fewest edges of connections whose loss leaves no source-sink path; wires cannot be cut.

    By maximum flow (SciPy's Dinic), whose time grows faster than the edges. `Cut.table` names layers and parameters.

    Example:
        >>> import torch, graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> graph = gs.export(layers, torch.zeros(1, 2), masks)
        >>> cut = minimum_cut(graph)
        >>> cut.size, cut.table(graph)[["from_layer", "to_layer", "parameter", "entry"]].values.tolist()
        (1.0, [['0', '1', '1.weight', 0]])
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
    return between(matrix, swept.liveness.signal, swept.liveness.reaches)


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

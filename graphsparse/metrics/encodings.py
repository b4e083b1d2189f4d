"""The bipartite graph of a parameter in the three encodings of the field: rolled, rolled by channel, unrolled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse

from graphsparse.adjacency import bool_csr
from graphsparse.arrays import as_array, by_name
from graphsparse.blocks import Block, KernelBlock
from graphsparse.errors import ArgumentError, MaskError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.names import connected_parameter
from graphsparse.metrics.parts import PARTS, Part, Swept
from graphsparse.metrics.table import Found

ENCODINGS = ("channel", "rolled", "unrolled")
NO_WEIGHTS = "the weights are not known"
NOT_FINITE = "a weight is not finite, or 1e140 or more, so that sums of squares are not"
LARGEST_WEIGHT = 1e140


def biadjacency(
    graph: LayeredGraph,
    parameter: str,
    encoding: str = "channel",
    *,
    part: str = "kept",
    weighted: bool = False,
    weights: Mapping[str, Any] | None = None,
) -> sparse.csr_array:
    """The bipartite graph of a parameter as a csr matrix: a row per left node (input), a column per right node (output).

    Args:
        graph: as `graphsparse.export` gives it.
        parameter: the name of a parameter with connections.
        encoding: "rolled": left nodes are the pairs of input channel and kernel tap, right nodes the output channels; each
            connection is an edge. "channel" (rolled by channel): left nodes are the input channels; an edge is where any
            tap is there. "unrolled": nodes are the units that the parameter reads and writes, in the order of their ids;
            an edge is a pair that a connection joins at some position. Zero padding is no unit.
        part: "kept" or "active".
        weighted: entries are weights, not True: of rolled kernels the weight itself; by channel the Euclidean norm of the
            kernel's slice; unrolled the weight, or the norm where several connections join the pair.
        weights: ``{parameter name: tensor or array}`` in place of the graph's own weights.

    Returns:
        csr of bool or float64 (left nodes, right nodes). Its shape does not depend on the masks; a weight that is kept
        and zero is a stored entry.

    Raises:
        ArgumentError: an encoding or a part that is not one of those, or "unrolled" of a graph by channels. MaskError: a
        parameter that the graph does not have, or whose weights are not known or do not fit.

    Encodings as in Cunegatti et al. (TMLR 2024), section 3, and Hoang et al. (ICLR 2023), section 3. Where a parameter is
    read in several ways (a tied embedding and head, the gates of a recurrent layer), each way adds the connections that no
    way before it has: rolled, each connection is one edge.

    Example:
        >>> import torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Conv2d(2, 3, 3, bias=False), torch.zeros(1, 2, 5, 5), {})
        >>> [gs.biadjacency(graph, "weight", encoding).shape for encoding in ("channel", "rolled", "unrolled")]
        [(2, 3), (18, 3), (50, 27)]
    """
    graph = checked_graph(graph) if weights is None else with_weights(graph, weights)
    name = connected_parameter(graph, parameter)
    if part not in PARTS:
        raise ArgumentError("a part must be kept or active", place="part", received=part)
    check_encoding(encoding, graph)
    if weighted and name not in graph.weights:
        raise MaskError("weights must be known for a weighted graph", place=parameter, way_out="give weights=")
    return encoded(Part(Swept(graph), part), name, encoding, weighted)


def check_encoding(encoding: str, graph: LayeredGraph | None = None) -> None:
    """Raises ArgumentError for what is no encoding, or for unrolled kernels of a graph that has no positions."""
    if encoding not in ENCODINGS:
        raise ArgumentError(
            "an encoding must be one of channel, rolled and unrolled", place="encoding", received=repr(encoding)
        )
    if graph is not None and encoding == "unrolled" and graph.resolution != "unrolled":
        raise ArgumentError(
            "the unrolled encoding must have a graph of unrolled resolution", place="encoding",
            received=f"a graph of {graph.resolution} resolution", way_out="use the resolution unrolled, or the encoding channel",
        )  # fmt: skip


def with_weights(graph: LayeredGraph, weights: Mapping[str, Any]) -> LayeredGraph:
    """The graph with other weights, ``{parameter name: tensor or array}``; those of other parameters stay.

    Names that the graph does not count (biases, say) are left out. Raises MaskError where a shape or a type does not fit.
    """
    graph, known = checked_graph(graph), {}
    for given, value in by_name(weights, "weights").items():
        name = graph.aliases.get(given, given)
        if name in graph.shapes:
            known[name] = as_array(given, value, "weight")
            if known[name].shape != tuple(graph.shapes[name]):
                raise MaskError(
                    "weights must have the shape of their parameter", place=given, received=known[name].shape,
                    way_out=f"give {tuple(graph.shapes[name])}",
                )  # fmt: skip
    return replace(graph, weights={**graph.weights, **known})


def encoded(part: Part, name: str, encoding: str, weighted: bool = False) -> sparse.csr_array:
    """`biadjacency` of a part, of names and encodings that are known to be right."""
    weights = np.asarray(part.graph.weights[name], np.float64).reshape(-1) if weighted else None
    if encoding == "unrolled":
        return _unrolled(part, name, weights)
    return _rolled(part, name, weights, encoding == "channel")


def layer_graphs(part: Part, weighted: bool = False) -> dict[str, sparse.csr_array]:
    """The bipartite graph of each parameter in the encoding that is asked for, of bool or of absolute weights."""
    graphs = {name: encoded(part, name, part.swept.encoding, weighted) for name in part.graph.shapes}
    return {name: abs(each) for name, each in graphs.items()} if weighted else graphs


def without_weights(part: Part) -> Found | None:
    """What a metric of the part's weights is, in all and by parameter, where they are not known or not finite; else None."""
    reason = part.once(weights_lacking)
    return Found(np.nan, None, dict.fromkeys(part.graph.shapes, np.nan), reason) if reason else None


def weights_lacking(part: Part) -> str:
    """Why a metric of the part's weights is undefined; empty where they are known and finite."""
    weights = part.graph.weights
    if any(name not in weights for name in part.graph.shapes):
        return NO_WEIGHTS
    kept = (np.asarray(weights[name])[mask.unpack()].astype(np.float64) for name, mask in part.masks.items())
    return "" if all((np.abs(each) < LARGEST_WEIGHT).all() for each in kept) else NOT_FINITE


def unrolled_units(graph: LayeredGraph, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the units that a parameter reads and of those that it writes: the nodes of its unrolled graph."""
    none, blocks = np.empty(0, np.int32), graph.kernels[name]
    left = np.unique(np.concatenate([none, *(block.sources.ravel() for block in blocks)]))
    right = np.unique(np.concatenate([none, *(block.targets.ravel() for block in blocks)]))
    return left[left >= 0], right[right >= 0]


def weighted_edges(part: Part) -> sparse.csr_array:
    """The part's edges by absolute weight, float64 csr (n_units, n_units): 1 for wires, the norm of parallel edges."""
    graph, rows, columns, squares = part.graph, [], [], []
    conducting = part.name == "active" and graph.gated
    for layer in part.swept.conducting_layers if conducting else graph.layers:
        for block in layer.blocks:
            sources, targets, entries = _pairs(part, block)
            rows.append(sources)
            columns.append(targets)
            if entries is None or not isinstance(block, KernelBlock):
                squares.append(np.ones(len(sources)))
            else:
                squares.append(np.asarray(graph.weights[block.parameter], np.float64).reshape(-1)[entries] ** 2)
    found = _csr(rows, columns, squares, (graph.n_units, graph.n_units))
    found.data = np.sqrt(found.data)
    return found


def _pairs(part: Part, block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Origins, targets and entries of the edges of a block that belong to the part."""
    there = part.units.copy()
    there[part.graph.cut] = False
    sources, targets, entries = block.pairs(part.graph.kept)
    use = there[sources] & there[targets]
    return sources[use], targets[use], None if entries is None else entries[use]


def _unrolled(part: Part, name: str, weights: np.ndarray | None) -> sparse.csr_array:
    left, right = unrolled_units(part.graph, name)
    rows, columns, data = [], [], []
    for block in part.graph.kernels[name]:
        sources, targets, entries = _pairs(part, block)
        rows.append(np.searchsorted(left, sources))
        columns.append(np.searchsorted(right, targets))
        data.append(None if weights is None else weights[entries])
    shape = len(left), len(right)
    found = _csr(rows, columns, data, shape)
    if weights is not None and found.nnz < sum(map(len, rows)):
        several = _csr(rows, columns, [np.ones(len(each)) for each in rows], shape).data > 1
        norms = np.sqrt(_csr(rows, columns, [each**2 for each in data if each is not None], shape).data)
        found.data = np.where(several, norms, found.data)
    return found


def _rolled(part: Part, name: str, weights: np.ndarray | None, by_channel: bool) -> sparse.csr_array:
    flat, left, right = part.masks[name].unpack().reshape(-1), _Nodes(), _Nodes()
    rows, columns, data = [], [], []
    for block, new in _ways(part.graph.kernels[name], flat.size):
        taps = len(block.taps.table) if by_channel else 1
        n_groups, n_rows, n_channels = *block.targets.shape[:2], block.sources.shape[1] * len(block.taps.table) // taps
        kept = block.view.of(flat)
        g, o, j = np.nonzero(kept if new is None else kept & new)
        rows.append(left.start(block.sources, n_groups * n_channels) + g * n_channels + j // taps)
        columns.append(right.start(block.targets, n_groups * n_rows) + g * n_rows + o)
        # the norm of a slice is the root of a sum of squares: parallel entries are added
        data.append(None if weights is None else block.view.of(weights)[g, o, j] ** (2 if by_channel else 1))
    matrix = _csr(rows, columns, data, (left.size, right.size))
    if weights is not None and by_channel:
        matrix.data = np.sqrt(matrix.data)
    return matrix


def _ways(blocks: list[KernelBlock], size: int) -> Iterator[tuple[KernelBlock, np.ndarray | None]]:
    """A block for each way of reading a parameter, with the elements that no way before it has; None: all of them."""
    ways = list({block.view: block for block in blocks}.values())
    if len(ways) == 1:
        yield ways[0], None
        return
    fresh = np.ones(size, bool)
    for block in ways:
        entries = block.view.entries()
        new = fresh[entries] & (entries >= 0)
        if new.any():
            fresh[entries[new]] = False
            yield block, new


@dataclass(eq=False)
class _Nodes:
    """The nodes of one side; ways of reading a parameter that read, or write, the same units share them."""

    size: int = 0
    starts: dict[tuple[tuple[int, ...], bytes], int] = field(default_factory=dict)

    def start(self, units: np.ndarray, count: int) -> int:
        """The number of the first of the ``count`` nodes of these units."""
        start = self.starts.setdefault((units.shape, units.tobytes()), self.size)
        self.size = max(self.size, start + count)
        return start


def _csr(rows: list[Any], columns: list[Any], data: list[Any], shape: tuple[int, int]) -> sparse.csr_array:
    """The matrix of edges in lists of arrays: parallel edges are one True, or the sum of their data where there is any."""
    none = np.empty(0, np.int64)
    row, column = np.concatenate([none, *rows]), np.concatenate([none, *columns])
    if any(each is None for each in data):
        return bool_csr(row, column, shape)
    return sparse.coo_array((np.concatenate([np.empty(0), *data]), (row, column)), shape).tocsr()

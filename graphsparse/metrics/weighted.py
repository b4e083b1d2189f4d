"""The weights of a part: whether they are known, and the edges of the whole graph by their absolute weight."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from graphsparse.blocks import KernelBlock
from graphsparse.metrics.parts import Part

NO_WEIGHTS, NOT_FINITE = "the weights are not known", "a weight is not finite"


def weights_lacking(part: Part) -> str:
    """Why a metric of the part's weights is undefined; empty where they are known and finite."""
    return part.once(_lacking)


def _lacking(part: Part) -> str:
    weights = part.graph.weights
    if any(name not in weights for name in part.graph.shapes):
        return NO_WEIGHTS
    finite = all(np.isfinite(np.asarray(weights[n])[part.masks[n].unpack()]).all() for n in part.graph.shapes)
    return "" if finite else NOT_FINITE


def weighted_edges(part: Part) -> sparse.csr_array:
    """The part's edges by absolute weight, float64 csr (n_units, n_units): 1 for wires, the norm of parallel edges."""
    graph = part.graph
    active = part.name == "active"
    there = part.units.copy()
    there[graph.cut] = False
    rows, columns, squares = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0)]
    for layer in part.swept.conducting_layers if active and graph.gated else graph.layers:
        for block in layer.blocks:
            sources, targets, entries = block.pairs(graph.kept)
            use = there[sources] & there[targets]
            rows.append(sources[use])
            columns.append(targets[use])
            if entries is None or not isinstance(block, KernelBlock):
                squares.append(np.ones(np.count_nonzero(use)))
            else:
                weights = np.asarray(graph.weights[block.parameter], np.float64).reshape(-1)
                squares.append(np.square(weights[entries[use]]))
    at = np.concatenate(rows), np.concatenate(columns)
    found = sparse.coo_array((np.concatenate(squares), at), (graph.n_units, graph.n_units)).tocsr()
    found.data = np.sqrt(found.data)
    return found

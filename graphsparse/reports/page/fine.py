"""The multipartite graph for a picture: single units where they are few enough, else channels, in bins where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from graphsparse.blocks import Gate, KernelBlock
from graphsparse.graph import LayeredGraph
from graphsparse.metrics.parts import Swept
from graphsparse.pages.render import count
from graphsparse.reports.page.channels import channels_of, joined
from graphsparse.reports.page.pairs import Pairs, drawing

EDGES = 100_000
"""Edges that are drawn one by one."""
BINNED = 40_000
"""Edges between bins of channels."""
WORK = 200_000_000
"""Connections and wires up to which channels are looked at."""
BINS = (4096, 1024, 512, 256, 128, 64, 48, 32, 24, 16, 12, 8, 6, 4, 2, 1)


def edges_at_most(graph: LayeredGraph) -> int:
    """An upper bound of the edges of a graph, without building them: each kept connection at each of its positions."""
    total = 0
    for layer in graph.layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock):
                total += graph.kept[block.mask].count() * block.taps.table.shape[1]
            else:
                total += len(block.targets) * (1 + isinstance(block, Gate))
    return total


def units(swept: Swept, states: np.ndarray) -> dict[str, Any] | str:
    """Every unit that has an edge and every edge, or a sentence that says why they are not drawn."""
    graph = swept.graph
    most = edges_at_most(graph)
    if most > 20 * EDGES or (edges := swept.edges["kept"]).nnz > EDGES:
        found = most if most > 20 * EDGES else edges.nnz
        about = "up to " if most > 20 * EDGES else ""
        return f"Single units are not drawn: the graph has {about}{count(found)} edges, more than {count(EDGES)}."
    pairs = Pairs(
        np.repeat(np.arange(graph.n_units), np.diff(edges.indptr)), edges.indices, _alive(edges, swept.edges["active"])
    )
    positions = np.arange(graph.n_units) - np.asarray([layer.start for layer in graph.layers])[graph.owner]
    sizes = [len(layer) for layer in graph.layers]
    return {**drawing(pairs, graph.owner, positions, states), "sizes": sizes, "per": [1] * len(sizes), "what": "unit"}


def _alive(edges: sparse.csr_array, active: sparse.csr_array) -> np.ndarray:
    """Which entries of a csr another one has too."""
    codes = [
        np.repeat(np.arange(each.shape[0]), np.diff(each.indptr)) * each.shape[1] + each.indices
        for each in (edges, active)
    ]
    return np.isin(*codes)


def channels(swept: Swept, states: np.ndarray) -> dict[str, Any] | str:
    """Channels and whether any edge joins two of them, in bins where there are many edges; or why they are not drawn."""
    graph = swept.graph
    wires = sum(
        len(block.targets) for layer in graph.layers for block in layer.blocks if not isinstance(block, KernelBlock)
    )
    if graph.n_connections + wires > WORK:
        return f"Channels are not drawn: the network has more than {count(WORK)} connections and wires."
    labels, n = channels_of(graph), len(graph.layers)
    sizes = np.zeros(n, np.int64)
    np.maximum.at(sizes, graph.owner, labels + 1)
    starts, owner = np.concatenate([[0], np.cumsum(sizes)]), np.repeat(np.arange(n), sizes)
    nodes = starts[graph.owner] + labels
    blocks = list(joined(swept, nodes))
    per = _per_bin(sizes, owner, blocks)
    firsts = np.concatenate([[0], np.cumsum(-(-sizes // per))])
    bins = firsts[owner] + (np.arange(starts[-1]) - starts[owner]) // per[owner]
    pairs = Pairs.joined([block.moved(bins).once() for block in blocks]).once()
    best, homes = np.full(firsts[-1], 9, np.int64), np.repeat(np.arange(n), np.diff(firsts))
    np.minimum.at(best, bins[nodes], states)
    drawn = drawing(pairs, homes, np.arange(firsts[-1]) - firsts[homes], best)
    return {
        **drawn,
        "sizes": np.diff(firsts).tolist(),
        "per": per.tolist(),
        "channels": sizes.tolist(),
        "what": "channel",
    }


def _per_bin(sizes: np.ndarray, owner: np.ndarray, blocks: Sequence[Pairs]) -> np.ndarray:
    """How many channels of each layer share a bin, so that no more than `BINNED` edges can join bins."""
    ends = [(sizes[owner[each.sources[0]]], sizes[owner[each.targets[0]]], len(each)) for each in blocks if len(each)]
    for bins in BINS:
        if sum(min(number, min(a, bins) * min(b, bins)) for a, b, number in ends) <= BINNED:
            break
    return np.maximum(1, -(-sizes // bins))

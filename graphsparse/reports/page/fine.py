"""The multipartite graph for a picture: units where they are few; channels, in bins where they are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphsparse.blocks import Block, Gate, KernelBlock
from graphsparse.graph import LayeredGraph
from graphsparse.metrics.parts import PARTS, Swept, conducting
from graphsparse.pages.render import count
from graphsparse.reports.page.pairs import Pairs, drawing

EDGES = 100_000
"""Edges that are drawn one by one."""
BINNED = 40_000
"""Edges between bins of channels."""
WORK = 200_000_000
"""Connections and wires up to which channels are looked at."""
BINS = (4096, 1024, 512, 256, 128, 64, 48, 32, 24, 16, 12, 8, 6, 4, 2, 1)


def blocks_of(graph: LayeredGraph) -> list[Block]:
    """The blocks of all layers."""
    return [block for layer in graph.layers for block in layer.blocks]


def kernel_of(block: KernelBlock, flat: np.ndarray) -> np.ndarray:
    """The entries of a parameter that a block reads: (groups, rows, channels, taps)."""
    kernel, taps = block.view.of(flat), max(len(block.taps.table), 1)
    return kernel.reshape(*kernel.shape[:2], kernel.shape[2] // taps, taps)


def edges_at_most(graph: LayeredGraph) -> int:
    """An upper bound of the edges of a graph, without building them: each kept connection at each of its positions."""
    return sum(
        graph.kept[block.mask].count() * block.taps.table.shape[1]
        if isinstance(block, KernelBlock)
        else len(block.targets) * (1 + isinstance(block, Gate))
        for block in blocks_of(graph)
    )


def units(swept: Swept, states: np.ndarray) -> dict[str, Any] | str:
    """Every unit that has an edge and every edge, or a sentence that says why they are not drawn."""
    graph, found = swept.graph, edges_at_most(swept.graph)
    about = "up to " if found > 20 * EDGES else ""
    if about or (found := swept.edges["kept"].nnz) > EDGES:
        return f"Single units are not drawn: the graph has {about}{count(found)} edges, more than {count(EDGES)}."
    edges = (swept.edges["kept"].astype(np.int8) + swept.edges["active"]).tocoo()  # 2 where an edge is active
    positions = np.arange(graph.n_units) - np.asarray([layer.start for layer in graph.layers])[graph.owner]
    drawn = drawing(Pairs(edges.row, edges.col, edges.data == 2), graph.owner, positions, states)
    return {**drawn, "sizes": [len(layer) for layer in graph.layers], "per": [1] * len(graph.layers), "what": "unit"}


def channels(swept: Swept, states: np.ndarray) -> dict[str, Any] | str:
    """Channels and the edges between them, in bins where there are many edges; or why they are not drawn."""
    graph = swept.graph
    wires = sum(len(block.targets) for block in blocks_of(graph) if not isinstance(block, KernelBlock))
    if graph.n_connections + wires > WORK:
        return f"Channels are not drawn: the network has more than {count(WORK)} connections and wires."
    labels, n = channels_of(graph), len(graph.layers)
    sizes = np.zeros(n, np.int64)
    np.maximum.at(sizes, graph.owner, labels + 1)
    starts, owner = np.concatenate([[0], np.cumsum(sizes)]), np.repeat(np.arange(n), sizes)
    nodes = starts[graph.owner] + labels
    joined = [each.moved(nodes).once() for each in _joined(swept)]
    per = _per_bin(sizes, owner, joined)
    firsts = np.concatenate([[0], np.cumsum(-(-sizes // per))])
    bins = firsts[owner] + (np.arange(starts[-1]) - starts[owner]) // per[owner]
    pairs = Pairs.joined([each.moved(bins).once() for each in joined]).once()
    best, homes = np.full(firsts[-1], 9, np.int64), np.repeat(np.arange(n), np.diff(firsts))
    np.minimum.at(best, bins[nodes], states)
    drawn = drawing(pairs, homes, np.arange(firsts[-1]) - firsts[homes], best)
    counts = {"sizes": np.diff(firsts).tolist(), "per": per.tolist(), "channels": sizes.tolist()}
    return {**drawn, **counts, "what": "channel"}


def channels_of(graph: LayeredGraph) -> np.ndarray:
    """The channel of each unit within its layer, numbered from 0.

    The rows of a kernel are the channels of the layer that it makes; wires and products hand theirs on. Inputs have the
    channels that the first kernel reads. What is still without one is a channel of its own.
    """
    labels = np.full(graph.n_units, -1, np.int64)
    for block in blocks_of(graph):
        if isinstance(block, KernelBlock):
            _label(labels, block.targets.reshape(-1, block.targets.shape[-1]))
            if block.sources.size and (labels[block.sources[block.sources >= 0]] < 0).any():
                _label(labels, block.sources.reshape(-1, block.sources.shape[-1]))
        else:
            origins, targets, _ = block.pairs(graph.kept)
            new = (labels[targets] < 0) & (labels[origins] >= 0)
            labels[targets[new]] = labels[origins[new]]
    return _numbered(graph, labels)


def _label(labels: np.ndarray, rows: np.ndarray) -> None:
    numbers = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
    new = (rows >= 0) & (labels[rows] < 0)
    labels[rows[new]] = numbers[new]


def _numbered(graph: LayeredGraph, labels: np.ndarray) -> np.ndarray:
    """Labels from 0 on without gaps in each layer; units without one are numbered one by one after the others."""
    found = np.empty_like(labels)
    for layer in graph.layers:
        here = labels[layer.start : layer.stop].copy()
        lone = here < 0
        here[lone] = here.max(initial=-1) + 1 + np.arange(np.count_nonzero(lone))
        found[layer.start : layer.stop] = np.unique(here, return_inverse=True)[1]
    return found


def _joined(swept: Swept) -> Iterator[Pairs]:
    """For each block, units of the channels that it joins."""
    graph, found = swept.graph, swept.liveness
    nonzero = np.append(found.nonzero, [True, False])
    for block in blocks_of(graph):
        if isinstance(block, KernelBlock):
            yield _of_kernel(block, swept)
        else:
            origins, targets, _ = conducting(block, nonzero).pairs(graph.kept)
            yield Pairs(origins, targets, found.signal[origins] & found.reaches[targets])


def _of_kernel(block: KernelBlock, swept: Swept) -> Pairs:
    """One unit of each channel that a kernel reads and one of each that it makes, for any of its taps that is kept."""
    masks = [swept.masks[part][block.parameter].unpack().reshape(-1) for part in PARTS]
    kept, active = (np.asarray(kernel_of(block, mask).any(3)) for mask in masks)
    group, row, channel = np.nonzero(kept)
    sources, targets = block.sources.max(2)[group, channel], block.targets.max(2)[group, row]
    real = (sources >= 0) & (targets >= 0)
    return Pairs(sources[real], targets[real], active[group, row, channel][real])


def _per_bin(sizes: np.ndarray, owner: np.ndarray, joined: Sequence[Pairs]) -> np.ndarray:
    """How many channels of each layer share a bin, so that no more than `BINNED` edges can join bins."""
    ends = [(sizes[owner[each.sources[0]]], sizes[owner[each.targets[0]]], len(each)) for each in joined if len(each)]
    for bins in BINS:
        if sum(min(number, min(a, bins) * min(b, bins)) for a, b, number in ends) <= BINNED:
            break
    return np.maximum(1, -(-sizes // bins))

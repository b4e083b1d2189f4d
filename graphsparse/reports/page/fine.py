"""The multipartite graph for a picture: single units where they are few enough, else channels, in bins where they are many."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np

from graphsparse.blocks import Gate, KernelBlock
from graphsparse.graph import LayeredGraph
from graphsparse.metrics.parts import Swept, conducting
from graphsparse.reports.page.render import count

EDGES = 100_000
"""Edges that are drawn one by one."""
BINNED = 40_000
"""Edges between bins of channels."""
WORK = 200_000_000
"""Connections and wires up to which channels are looked at."""
TABLE = 4_000_000
"""Entries of a table of pairs that is made however few pairs there are."""
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
    active = swept.edges["active"]
    origins = np.repeat(np.arange(graph.n_units), np.diff(edges.indptr))
    live = np.repeat(np.arange(graph.n_units), np.diff(active.indptr))
    alive = np.isin(_code(origins, edges.indices, graph.n_units), _code(live, active.indices, graph.n_units))
    positions = np.arange(graph.n_units) - np.asarray([layer.start for layer in graph.layers])[graph.owner]
    drawn = _encoded(graph.owner, positions, states, origins, edges.indices, alive)
    return {**drawn, "sizes": [len(layer) for layer in graph.layers], "per": [1] * len(graph.layers), "what": "unit"}


def channels(swept: Swept, states: np.ndarray) -> dict[str, Any] | str:
    """Channels and whether any edge joins two of them, in bins where there are many edges; or why they are not drawn."""
    graph = swept.graph
    wires = sum(
        len(block.targets) for layer in graph.layers for block in layer.blocks if not isinstance(block, KernelBlock)
    )
    if graph.n_connections + wires > WORK:
        return f"Channels are not drawn: the network has more than {count(WORK)} connections and wires."
    labels = channels_of(graph)
    n = len(graph.layers)
    sizes = np.zeros(n, np.int64)
    np.maximum.at(sizes, graph.owner, labels + 1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    nodes, owner = starts[graph.owner] + labels, np.repeat(np.arange(n), sizes)
    pairs = list(_joined(swept, nodes))
    best = np.full(starts[-1], 9, np.int64)
    np.minimum.at(best, nodes, states)
    per = _per_bin(sizes, owner, pairs)
    small = np.concatenate([[0], np.cumsum(-(-sizes // per))])
    binned = small[owner] + (np.arange(starts[-1]) - starts[owner]) // per[owner]
    once = [_once(binned[a], binned[b], alive, int(small[-1])) for a, b, alive in pairs]
    joined = [np.concatenate(parts) for parts in zip(*once, strict=True)] or [np.empty(0, np.int64)] * 3
    sources, targets, alive = _once(*joined, int(small[-1]))
    state = np.full(small[-1], 9, np.int64)
    np.minimum.at(state, binned, best)
    homes = np.repeat(np.arange(n), np.diff(small))
    drawn = _encoded(homes, np.arange(small[-1]) - small[homes], state, sources, targets, alive)
    return {
        **drawn,
        "sizes": np.diff(small).tolist(),
        "per": per.tolist(),
        "channels": sizes.tolist(),
        "what": "channel",
    }


def _per_bin(sizes: np.ndarray, owner: np.ndarray, pairs: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    """How many channels of each layer share a bin, so that no more than `BINNED` edges can join bins."""
    ends = [(sizes[owner[a[0]]], sizes[owner[b[0]]], len(a)) for a, b, _ in pairs if len(a)]
    for bins in BINS:
        if sum(min(number, min(a, bins) * min(b, bins)) for a, b, number in ends) <= BINNED:
            break
    return np.maximum(1, -(-sizes // bins))


def channels_of(graph: LayeredGraph) -> np.ndarray:
    """The channel of each unit within its layer, numbered from 0.

    The rows of a kernel are the channels of the layer that it makes; wires and products hand theirs on. Inputs have the
    channels that the first kernel reads. What is still without one is a channel of its own.
    """
    labels = np.full(graph.n_units, -1, np.int64)
    for layer in graph.layers:
        for block in layer.blocks:
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


def _joined(swept: Swept, nodes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each block the pairs of nodes that it joins, and whether by something active."""
    graph, found = swept.graph, swept.liveness
    masks = {
        part: {name: swept.masks[part][name].unpack().reshape(-1) for name in graph.shapes}
        for part in ("kept", "active")
    }
    nonzero = np.append(found.nonzero, [True, False])
    for layer in graph.layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock):
                yield _of_kernel(block, masks, nodes)
            else:
                origins, targets, _ = conducting(block, nonzero).pairs(graph.kept)
                alive = found.signal[origins] & found.reaches[targets]
                yield _once(nodes[origins], nodes[targets], alive, int(nodes.max()) + 1)


def _of_kernel(
    block: KernelBlock, masks: dict[str, dict[str, np.ndarray]], nodes: np.ndarray
) -> tuple[np.ndarray, ...]:
    taps = max(len(block.taps.table), 1)
    kernels = []
    for part in ("kept", "active"):
        kernel = block.view.of(masks[part][block.parameter])
        kernels.append(kernel.reshape(*kernel.shape[:2], kernel.shape[2] // taps, taps).any(3))
    group, row, channel = np.nonzero(kernels[0])
    alive = kernels[1][group, row, channel]
    sources, targets = block.sources.max(2)[group, channel], block.targets.max(2)[group, row]
    real = (sources >= 0) & (targets >= 0)
    return nodes[sources[real]], nodes[targets[real]], alive[real]


def _code(sources: np.ndarray, targets: np.ndarray, n: int) -> np.ndarray:
    return sources.astype(np.int64) * n + targets


def _once(
    sources: np.ndarray, targets: np.ndarray, alive: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair once, alive if any of its kind is; by a table of the pairs that can be, where it is small."""
    if not len(sources):
        return sources, targets, alive
    first, low = sources.min(), targets.min()
    width = int(targets.max() - low) + 1
    room = (int(sources.max() - first) + 1) * width
    if room > 8 * len(sources) + TABLE:
        codes, places = np.unique(_code(sources, targets, n), return_inverse=True)
        found = np.zeros(len(codes), bool)
        found[places[alive]] = True
        return codes // n, codes % n, found
    seen, codes = np.zeros(room, np.uint8), _code(sources - first, targets - low, width)
    seen[codes] = 1
    seen[codes[alive]] = 2
    codes = np.flatnonzero(seen)
    return first + codes // width, low + codes % width, seen[codes] == 2


def _encoded(
    layers: np.ndarray,
    positions: np.ndarray,
    states: np.ndarray,
    sources: np.ndarray,
    targets: np.ndarray,
    alive: np.ndarray,
) -> dict[str, Any]:
    """The nodes that have an edge, and the edges in the order of their sources, as short text; see `packed`.

    ``nodes`` are triples (layer, position in it, state), layers and positions as steps from the node before; ``edges`` are
    for each node how many leave it, then for each the step to its target from the one before, doubled, and 1 if active.
    """
    order = np.lexsort((targets, sources))
    sources, targets, alive = sources[order], targets[order], alive[order]
    used = np.unique(np.concatenate([sources, targets]))
    place = np.zeros(len(layers), np.int64)
    place[used] = np.arange(len(used))
    home, at = layers[used].astype(np.int64), positions[used].astype(np.int64)
    fresh = np.diff(home, prepend=-1) > 0
    steps = np.where(fresh, at, np.diff(at, prepend=0))
    leaving = np.bincount(place[sources], minlength=len(used))
    ends = place[targets]
    first = np.diff(sources, prepend=-1) > 0
    reach = np.where(first, ends, np.diff(ends, prepend=0))
    return {
        "nodes": packed(np.stack([np.diff(home, prepend=0), steps, states[used]], 1).reshape(-1)),
        "leaving": packed(leaving),
        "reach": packed(2 * reach + alive),
        "edges": len(sources),
        "active": int(np.count_nonzero(alive)),
    }


def packed(numbers: np.ndarray) -> str:
    """Whole numbers from 0 on as text: seven bits to a byte, the lowest first, the eighth bit where more follow; base64.

    Example:
        >>> packed(np.array([1, 300])) == base64.b64encode(bytes([1, 0b10101100, 0b10])).decode()
        True
    """
    numbers = numbers.astype(np.int64)
    length = np.maximum(1, np.ceil(np.log2(np.maximum(numbers, 1) + 1) / 7).astype(np.int64))
    ends = np.cumsum(length)
    found = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for byte in range(int(length.max(initial=0))):
        here = length > byte
        more = np.where(length[here] > byte + 1, 128, 0)
        found[ends[here] - length[here] + byte] = (numbers[here] >> (7 * byte) & 127) + more
    return base64.b64encode(found.tobytes()).decode()

"""Channels: which units are the positions of one, and which channels a block joins."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphsparse.blocks import KernelBlock
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.parts import PARTS, Swept, conducting
from graphsparse.reports.page.pairs import Pairs


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


def joined(swept: Swept, nodes: np.ndarray) -> Iterator[Pairs]:
    """Of each block the channels that it joins; ``nodes`` has the channel of each unit, numbered over all layers."""
    graph, found = swept.graph, swept.liveness
    nonzero = np.append(found.nonzero, [True, False])
    for layer in graph.layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock):
                yield _of_kernel(block, [swept.masks[part][block.parameter] for part in PARTS]).moved(nodes)
            else:
                origins, targets, _ = conducting(block, nonzero).pairs(graph.kept)
                yield Pairs(origins, targets, found.signal[origins] & found.reaches[targets]).moved(nodes).once()


def _of_kernel(block: KernelBlock, masks: list[Mask]) -> Pairs:
    """A unit of each channel that a kernel reads, one of each that it makes, for any of its taps that is kept."""
    taps = max(len(block.taps.table), 1)
    kernels = [block.view.of(mask.unpack().reshape(-1)) for mask in masks]
    shaped = [each.reshape(*each.shape[:2], each.shape[2] // taps, taps) for each in kernels]
    kept, active = (np.asarray(each.any(3)) for each in shaped)
    group, row, channel = np.nonzero(kept)
    sources, targets = block.sources.max(2)[group, channel], block.targets.max(2)[group, row]
    real = (sources >= 0) & (targets >= 0)
    return Pairs(sources[real], targets[real], active[group, row, channel][real])

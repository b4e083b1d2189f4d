"""Multiplications with additions (MACs) of one sample: of all connections, of those kept, and of those active."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from graphsparse.blocks import KernelBlock
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.layout import Places
from graphsparse.kernels.masks import Mask
from graphsparse.sweep import Reach, sweep

LOOK_UPS = {"embedding", "index", "index_select", "gather"}
"""Operations that choose rows of a table and multiply nothing."""


class Macs(NamedTuple):
    """MACs of one sample if all connections are there, if those are that the masks keep, and if only active ones are."""

    dense: int
    kept: int
    active: int


def macs_of(graph: LayeredGraph, found: Reach | None = None) -> dict[str, Macs]:
    """The MACs of each parameter's connections, over all of its uses.

    `docs/semantics.md` says what counts (Terms, MACs). ``found`` is a sweep of the graph in (or, and), if there has been one.
    """
    found = found or sweep(graph, graph.kept)
    active: Mapping[str, Mask] = found.connections()
    sums = {name: np.zeros(3) for name in graph.shapes}
    for layer in graph.layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock) and layer.operation not in LOOK_UPS:
                kept = graph.kept[block.mask]
                both = active[block.parameter] if block.mask == block.parameter else active[block.parameter].both(kept)
                read = np.asarray((block.taps.table >= 0).sum(1), np.float64)  # at how many positions each tap reads
                counts = read * graph.positions.get(block.parameter, 1)
                parts = _dense(block, counts), _counted(block, kept, counts), _counted(block, both, counts)
                sums[block.parameter] += parts
    return {name: Macs(*(round(each) for each in found_sums)) for name, found_sums in sums.items()}


def _dense(block: KernelBlock, counts: np.ndarray) -> float:
    groups, rows = block.targets.shape[:2]
    if isinstance(block.view, Places):
        return float((_by_tap(block.view.index >= 0, len(counts)) * counts).sum())
    return float(groups * rows * block.sources.shape[1] * counts.sum())


def _counted(block: KernelBlock, mask: Mask, counts: np.ndarray) -> float:
    """The MACs of the connections of a mask; taps that are all used alike need no look at single connections."""
    if block.view.covers(mask.size) and bool((counts == counts[:1]).all()):
        return float(mask.count() * counts[0]) if len(counts) else 0.0
    return float((_by_tap(block.view.of(mask.unpack().reshape(-1)), len(counts)) * counts).sum())


def _by_tap(table: np.ndarray, taps: int) -> np.ndarray:
    """How many entries of a kernel (groups, rows, channels and taps) are there for each tap."""
    return np.asarray(table.reshape(-1, taps).sum(0), np.float64)

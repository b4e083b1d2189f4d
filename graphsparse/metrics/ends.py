"""The kernels of a parameter, and the units at the two ends of their connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from graphsparse.blocks import KernelBlock, Places
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.masks import Mask


def kernels_of(graph: LayeredGraph, name: str, flat: np.ndarray) -> Iterator[np.ndarray]:
    """A parameter's kernels, each once, of a flat array of its entries: (groups, outputs, inputs, taps)."""
    for block in {block.view: block for block in graph.kernels[name]}.values():
        groups, outputs = block.targets.shape[:2]
        yield block.view.of(flat).reshape(groups, outputs, block.sources.shape[1], len(block.taps.table))


def touched(
    graph: LayeredGraph, kept: Mapping[str, Mask], signal: np.ndarray | None = None, reaches: np.ndarray | None = None
) -> np.ndarray:
    """Which units have a kept connection at either end, from a unit with ``signal`` to one that ``reaches``."""
    every, found = np.ones(graph.n_units, bool), np.zeros(graph.n_units, bool)
    for block in (block for blocks in graph.kernels.values() for block in blocks):
        kernel = np.ascontiguousarray(block.view.of(kept[block.mask].unpack().reshape(-1)))
        if signal is None and reaches is None and (block.sources.min(initial=0) >= 0):
            touch_all(kernel, block.sources, block.taps.table, block.targets, found)
        else:
            origin, target = (every if signal is None else signal), (every if reaches is None else reaches)
            touch(kernel, block.sources, block.taps.table, block.targets, origin, target, found)
    return found


def prunable_units(graph: LayeredGraph) -> np.ndarray:
    """Which units are at an end of a connection, kept or dropped, bool (n_units,)."""
    found = np.zeros(graph.n_units, bool)
    for block in (block for blocks in graph.kernels.values() for block in blocks):
        for units in ends_of(block):
            found[units] = True
    return found


def ends_of(block: KernelBlock) -> tuple[np.ndarray, np.ndarray]:
    """The units at the two ends of a kernel's connections, kept or dropped; a unit may be there several times."""
    if isinstance(block.view, Places):  # some of its entries may not be there
        whole = Mask.whole((int(block.view.index.max(initial=-1)) + 1,))
        sources, targets, _ = block.pairs({block.mask: whole})
        return sources, targets
    table = block.taps.table
    real = np.asarray((block.sources >= 0).any(1))  # (groups, size)
    seen = (real[:, table] & (table >= 0)).any(1)  # (groups, positions)
    sources = block.sources[:, :, np.unique(table[table >= 0])]
    return sources[sources >= 0], block.targets.transpose(0, 2, 1)[seen]


@compiled
def touch(kernel: Any, sources: Any, table: Any, targets: Any, signal: Any, reaches: Any, found: Any) -> Any:
    """Mark both ends of the connections kept in ``kernel`` (groups, rows, columns) that lead from a unit with ``signal``
    to one that ``reaches``."""
    taps = table.shape[0]
    for g in range(kernel.shape[0]):
        for r in range(kernel.shape[1]):
            out = targets[g, r]
            for j in range(kernel.shape[2]):
                if not kernel[g, r, j]:
                    continue
                tap, read = table[j % taps], sources[g, j // taps]
                for p in range(tap.size):
                    if tap[p] >= 0 and read[tap[p]] >= 0 and signal[read[tap[p]]] and reaches[out[p]]:
                        found[read[tap[p]]] = True
                        found[out[p]] = True


@compiled
def touch_all(kernel: Any, sources: Any, table: Any, targets: Any, found: Any) -> Any:
    """Mark both ends of all connections of a kernel, all of whose sources are units: by column, and by row and tap."""
    taps = table.shape[0]
    for g in range(kernel.shape[0]):
        any_row = np.zeros(kernel.shape[2], np.bool_)
        for r in range(kernel.shape[1]):
            any_channel = np.zeros(taps, np.bool_)
            for j in range(kernel.shape[2]):
                if kernel[g, r, j]:
                    any_row[j] = True
                    any_channel[j % taps] = True
            for k in range(taps):
                if any_channel[k]:
                    for p in range(table.shape[1]):
                        if table[k, p] >= 0:
                            found[targets[g, r, p]] = True
        for j in range(kernel.shape[2]):
            if any_row[j]:
                for p in range(table.shape[1]):
                    q = table[j % taps, p]
                    if q >= 0:
                        found[sources[g, j // taps, q]] = True

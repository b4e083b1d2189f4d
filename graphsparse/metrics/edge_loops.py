"""Compiled passes over the edges of a csr, in which every edge leads from a lesser to a greater id."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphsparse.kernels.compiling import compiled


@compiled
def count_into(indices: Any, counts: Any) -> Any:
    """Add to each unit the edges that enter it."""
    for e in range(indices.size):
        counts[indices[e]] += 1


@compiled
def count_both(starts: Any, indices: Any, origin: Any, target: Any, inside: Any, outside: Any, leaving: Any) -> Any:
    """Add to each unit the edges that enter it from an ``origin``, apart those from other units, and the edges that leave
    it from an ``origin`` to a ``target``: three answers of one pass."""
    for u in range(starts.size - 1):
        if origin[u]:
            found = 0
            for e in range(starts[u], starts[u + 1]):
                inside[indices[e]] += 1
                found += target[indices[e]]
            leaving[u] += found
        else:
            for e in range(starts[u], starts[u + 1]):
                outside[indices[e]] += 1


@compiled
def count_between(starts: Any, indices: Any, origin: Any, target: Any, counts: Any) -> Any:
    """Add to each unit the edges that leave it from an ``origin`` to a ``target``."""
    for u in range(starts.size - 1):
        if origin[u]:
            found = 0
            for e in range(starts[u], starts[u + 1]):
                found += target[indices[e]]
            counts[u] += found


@compiled
def fill_between(starts: Any, indices: Any, origin: Any, target: Any, into: Any) -> Any:
    """Write the targets of those edges, in the csr's own order. ``into`` has one place too many: without a branch each
    target is written, and the next one over it where it does not count."""
    place = 0
    for u in range(starts.size - 1):
        if origin[u]:
            for e in range(starts[u], starts[u + 1]):
                into[place] = indices[e]
                place += target[indices[e]]


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

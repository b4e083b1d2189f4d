"""The maps of one side of a kernel with what is said of all of them, in one array: for each array that Python hands to a
compiled loop takes time."""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.kernels.maps import move, read
from graphsparse.kernels.masks import word_count


def parts_size(groups: int, count: int, width: int) -> int:
    """How many words the maps of groups of ``count`` ends take, with what is said of them."""
    return groups * (count * width + width + 3 * word_count(count))


@inlined
def parts(found, groups, count, width):
    """An array of `parts_size` words as its parts: maps (groups * count, width), their ceilings (groups, width), and three
    times a bit for each map of a group: whether it has any bit, every bit of the ceiling, some but not every one.

    The ceiling is what any map of the group has.
    """
    n, bits = groups * count * width, groups * ((count + 63) >> 6)
    rows = found[n + groups * width :].reshape(3, groups, bits // groups)
    return (found[:n].reshape(groups * count, width), found[n : n + groups * width].reshape(groups, width),
            rows[0], rows[1], rows[2])  # fmt: skip


@compiled
def inputs(units, n, ids, starts, table, shifts, valid, size, groups, found):
    """``found`` (see `parts`) = the map that each column reads; returns whether any has a bit."""
    maps = np.empty((ids.shape[0], (ids.shape[1] + 63) >> 6), np.uint64)
    if not read(units, n, ids, starts, maps):
        return False
    moved = parts(found, groups, ids.shape[0] // groups * table.shape[0], valid.shape[1])
    move(maps, table, shifts, valid, size, moved[0])
    _summarise(moved)
    return True


@compiled
def outputs(units, n, ids, starts, groups, found):
    """``found`` (see `parts`) = the map that each row feeds; returns whether any has a bit."""
    maps = parts(found, groups, ids.shape[0] // groups, (ids.shape[1] + 63) >> 6)
    if not read(units, n, ids, starts, maps[0]):
        return False
    _summarise(maps)
    return True


@inlined
def _summarise(found):
    maps, ceiling, there, full, rest = found
    count = maps.shape[0] // ceiling.shape[0]
    for g in range(ceiling.shape[0]):
        of_group = maps[g * count : (g + 1) * count]
        if maps.shape[1] == 1:
            _summarise_words(of_group.reshape(count), ceiling[g], there[g], full[g])
        else:
            _summarise_maps(of_group, ceiling[g], there[g], full[g])
        for w in range(there.shape[1]):
            rest[g, w] = there[g, w] & ~full[g, w]


@inlined
def _summarise_words(maps, ceiling, there, full):
    """`_summarise_maps` where a map is one word."""
    every = np.uint64(0)
    for j in range(maps.size):
        every |= maps[j]
    ceiling[0] = every
    for w in range(there.size):
        part, some, whole = maps[64 * w : 64 * w + 64], np.uint64(0), np.uint64(0)
        for j in range(part.size):
            some |= np.uint64(part[j] != 0) << np.uint64(j)
            whole |= np.uint64(part[j] == every) << np.uint64(j)
        there[w], full[w] = some, some & whole


@inlined
def _summarise_maps(maps, ceiling, there, full):
    ceiling[:] = 0
    for j in range(maps.shape[0]):
        for p in range(maps.shape[1]):
            ceiling[p] |= maps[j, p]
    for w in range(there.size):
        some, whole = np.uint64(0), np.uint64(0)
        for j in range(64 * w, min(64 * w + 64, maps.shape[0])):
            held, lacking = np.uint64(0), np.uint64(0)
            for p in range(maps.shape[1]):
                held |= maps[j, p]
                lacking |= ceiling[p] & ~maps[j, p]
            some |= np.uint64(held != 0) << np.uint64(j & 63)
            whole |= np.uint64(lacking == 0) << np.uint64(j & 63)
        there[w], full[w] = some, some & whole

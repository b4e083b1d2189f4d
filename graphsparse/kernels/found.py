"""The maps of one side of a kernel and a summary of them, in one array: handing an array to a compiled loop takes time."""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.kernels.maps import move, read


@inlined
def parts(found, groups, count, width):
    """The parts of what `inputs` and `outputs` find of groups of ``count`` ends, each with a map of ``width`` words.

    The maps (groups * count, width); their ceilings (groups, width), which have every bit that any map of the group has;
    and three rows of bits (groups, words), a bit for each map: whether it has any bit, whether it has every bit of the
    ceiling, and whether it has some but not all.
    """
    n, row = groups * count * width, (count + 63) >> 6
    bits = found[n + groups * width :].reshape(3, groups, row)
    ceilings = found[n : n + groups * width].reshape(groups, width)
    return found[:n].reshape(groups * count, width), ceilings, bits[0], bits[1], bits[2]


@inlined
def _empty(groups, count, width):
    return np.empty(groups * (count * width + width + 3 * ((count + 63) >> 6)), np.uint64)


@compiled
def inputs(units, n, ids, starts, table, shifts, valid, size, groups):
    """The maps that columns read, see `parts`; an empty array where none has a bit."""
    maps = np.empty((ids.shape[0], (ids.shape[1] + 63) >> 6), np.uint64)
    if not read(units, n, ids, starts, maps):
        return np.empty(0, np.uint64)
    count, width = ids.shape[0] // groups * table.shape[0], valid.shape[1]
    found = _empty(groups, count, width)
    moved = parts(found, groups, count, width)
    move(maps, table, shifts, valid, size, moved[0])
    _summarise(moved)
    return found


@compiled
def outputs(units, n, ids, starts, groups):
    """The maps that rows feed, see `parts`; an empty array where none has a bit."""
    count, width = ids.shape[0] // groups, (ids.shape[1] + 63) >> 6
    found = _empty(groups, count, width)
    maps = parts(found, groups, count, width)
    if not read(units, n, ids, starts, maps[0]):
        return found[:0]
    _summarise(maps)
    return found


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

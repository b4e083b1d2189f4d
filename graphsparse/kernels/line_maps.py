"""Lines of a mask's bits (see `lines`) against maps: at many positions each end of a connection is a row of words.

The arrays ``found`` and ``ends`` are the maps of one side of a kernel and their summary (`found.parts`).
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.kernels.found import parts
from graphsparse.kernels.lines import WIDTH, gather_group, lines_of, mark_common, meets, next_common, place_of, start_of
from graphsparse.kernels.maps import bits_at, is_set, put_bits, tail
from graphsparse.kernels.masks import ones, trailing_zeros


@inlined
def _covers(a, ceiling):
    """Whether a map has every bit of the ceiling: then nothing can be added to it."""
    for p in range(a.size):
        if ceiling[p] & ~a[p]:
            return False
    return True


@inlined
def _empty(a):
    some = np.uint64(0)
    for p in range(a.size):
        some |= a[p]
    return some == 0


@inlined
def _shares(a, b):
    """Whether two maps have a bit in common."""
    for p in range(a.size):
        if a[p] & b[p]:
            return True
    return False


@compiled
def collect(words, laid, found, into, first, last):
    """``into[i]`` |= the maps of ``found`` to which line i keeps a connection, for lines first to last.

    One full map is enough; without one, the others are joined until nothing can be added.
    """
    lines = lines_of(laid)
    maps, ceiling, _, full, rest = parts(found, lines.groups, lines.length, into.shape[1])
    for i in range(first, last):
        (g, _, start), mine = place_of(lines, i), into[i]
        if meets(words, start, full[g]):
            for p in range(mine.size):
                mine[p] = ceiling[g, p]
            continue
        w, lacking = next_common(words, start, rest[g], np.int64(0)), np.uint64(1)
        while w < rest.shape[1] and lacking:
            kept = bits_at(words, start + 64 * w) & rest[g, w]
            while kept and lacking:
                other = maps[g * lines.length + 64 * w + trailing_zeros(kept)]
                kept &= kept - np.uint64(1)
                lacking = np.uint64(0)
                for p in range(mine.size):
                    mine[p] |= other[p]
                    lacking |= ceiling[g, p] & ~mine[p]
            w = next_common(words, start, rest[g], w + 1)


@compiled
def spread(words, laid, found, into, first, last):
    """Each map of ``into`` (groups * length, width) |= the maps of the lines that keep a connection to it.

    First to last are the words along the lines. Whatever a full map reaches is full: this is found for 64 connections at
    once. Only the other maps are looked at one by one, until they are full too.
    """
    lines = lines_of(laid)
    maps, ceiling, _, full, rest = parts(found, lines.groups, lines.count, into.shape[1])
    open_ = np.empty(last - first, np.uint64)
    for g in range(lines.groups):
        open_[:] = 0
        gather_group(words, lines, g, full[g], open_, first)
        for w in range(open_.size):
            base = g * lines.length + 64 * (first + w)
            _put(into[base : min(base + 64, (g + 1) * lines.length)], open_[w], ceiling[g])
            open_[w] = tail(lines.length, first + w) & ~open_[w]
        unseen = 0
        for i in range(lines.count):
            if not is_set(rest[g], i):
                continue
            if unseen == 16:
                if _empty(open_):
                    break
                unseen = 0
            unseen += 1
            _spread_one(words, start_of(lines, g, i) + 64 * first, maps[g * lines.count + i], ceiling[g], open_, into,
                        g * lines.length + 64 * first)  # fmt: skip


@inlined
def _put(maps, bits, ceiling):
    """The maps whose bit is set = the ceiling; the others are empty."""
    for j in range(maps.shape[0]):
        every = np.uint64(0) - ((bits >> np.uint64(j)) & np.uint64(1))
        for p in range(maps.shape[1]):
            maps[j, p] = ceiling[p] & every


@inlined
def _spread_one(words, start, mine, ceiling, open_, into, base):
    """The maps from ``base`` on |= the map ``mine`` of the line at bit ``start``; those that become full are closed."""
    w = next_common(words, start, open_, np.int64(0))
    while w < open_.size:
        kept = bits_at(words, start + 64 * w) & open_[w]
        while kept:
            low = trailing_zeros(kept)
            kept &= kept - np.uint64(1)
            other = into[base + 64 * w + low]
            lacking = np.uint64(0)
            for p in range(mine.size):
                other[p] |= mine[p]
                lacking |= ceiling[p] & ~other[p]
            if lacking == 0:
                open_[w] &= ~(np.uint64(1) << np.uint64(low))
        w = next_common(words, start, open_, w + 1)


@compiled
def mark(words, laid, ends, found, out, first, last):
    """How many connections that lines first to last keep have ends with a position in common.

    They are set in ``out`` too, unless it is empty. ``ends`` are the lines' maps and ``found`` those along the lines. A full map has a position in common with each map
    that is not empty. So a map that has one in common with the ceiling has one with each full map.
    """
    lines, total = lines_of(laid), np.int64(0)
    mines = parts(ends, lines.groups, lines.count, laid[WIDTH])[0]
    maps, ceiling, there, full, rest = parts(found, lines.groups, lines.length, laid[WIDTH])
    for i in range(first, last):
        (g, _, start), mine = place_of(lines, i), mines[i]
        if not _shares(mine, ceiling[g]):
            continue
        if _covers(mine, ceiling[g]):
            total += mark_common(words, start, there[g], out)
            continue
        total += mark_common(words, start, full[g], out)
        w = next_common(words, start, rest[g], np.int64(0))
        while w < rest.shape[1]:
            kept = bits_at(words, start + 64 * w) & rest[g, w]
            active = _active(kept, mine, maps[g * lines.length + 64 * w :])
            total += ones(active)
            if out.size:
                put_bits(out, start + 64 * w, active)
            w = next_common(words, start, rest[g], w + 1)
    return total


@inlined
def _active(kept, mine, maps):
    """The kept connections of a word whose ends have a position in common."""
    active = np.uint64(0)
    while kept:
        low = trailing_zeros(kept)
        kept &= kept - np.uint64(1)
        if _shares(mine, maps[low]):
            active |= np.uint64(1) << np.uint64(low)
    return active

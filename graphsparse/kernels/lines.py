"""Lines of a mask's bits against what lies along them, 64 connections a step.

A kernel lies in its parameter as lines of neighbouring entries: rows of the kernel, or, where it is the parameter's
transpose, columns. Each line belongs to one end of its connections; the entries along it are the other ends. At one
position an end is a bit, in a row of bits for each group (`meet`, `gather`, ...); at many it is a map, a row of words
(`collect`, `spread`, ...), and `found` arrays hold maps with what is said of all of them (`maps.parts`).

Loops count from the start of slices: of an index that could be negative the compiler does not know where it lies, and
does not vectorise.
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.kernels.layout import Lines
from graphsparse.kernels.maps import bits_at, is_set, parts, put_bits, tail
from graphsparse.kernels.masks import ones, trailing_zeros


@inlined
def _lines(laid):
    return Lines(laid[0], laid[1], laid[2], laid[3], laid[4], laid[5])


@inlined
def _start(lines, g, i):
    """The entry at which line i of group g begins."""
    return lines.offset + g * lines.group_step + i * lines.step


@inlined
def _place(lines, i):
    """The group of line i of all groups, its place in the group, and the entry at which it begins."""
    g = i // lines.count if lines.groups > 1 else np.int64(0)  # a division takes as long as a short line
    return g, i - g * lines.count, _start(lines, g, i - g * lines.count)


@inlined
def _next_common(words, start, along, w):
    """The first word from w on in which the words from bit ``start`` on and ``along`` have a bit in common."""
    if start & 63:
        while w < along.size and bits_at(words, start + 64 * w) & along[w] == 0:
            w += 1
        return w
    rest, k = along[w:], 0
    line = words[(start >> 6) + w : (start >> 6) + along.size]
    while k + 8 <= rest.size:
        some = np.uint64(0)
        for j in range(8):
            some |= line[k + j] & rest[k + j]
        if some:
            break
        k += 8
    while k < rest.size and line[k] & rest[k] == 0:
        k += 1
    return w + k


@inlined
def _meets(words, start, along):
    """Whether the words from bit ``start`` on and ``along`` have a bit in common."""
    return _next_common(words, start, along, np.int64(0)) < along.size


# One position: a bit for each end.


@compiled
def meet(words, laid, along, found, first, last):
    """Bit i of ``found[g]`` = whether line i of group g keeps a connection to a set bit of ``along[g]``; the words first
    to last of all rows of ``found``."""
    lines, width = _lines(laid), found.shape[1]
    for slot in range(first, last):
        g, w, bits = slot // width, slot % width, np.uint64(0)
        for i in range(64 * w, min(64 * w + 64, lines.count)):
            bits |= np.uint64(_meets(words, _start(lines, g, i), along[g])) << np.uint64(i & 63)
        found[g, w] = bits


@compiled
def gather(words, laid, ends, into, first, last):
    """Words first to last of each row ``into[g]`` |= the lines whose bit of ``ends[g]`` is set."""
    lines = _lines(laid)
    for g in range(lines.groups):
        _gather(words, lines, g, ends[g], into[g, first:last], first)


@inlined
def _gather(words, lines, g, ends, row, first):
    """``row`` |= the words from word ``first`` on of a group's lines whose bit is set; left when every bit is set."""
    unseen = 0
    for i in range(lines.count):
        if not is_set(ends, i):
            continue
        if unseen == 8:  # looking costs as much as a line
            if _filled(row, lines.length - 64 * first):
                break
            unseen = 0
        unseen += 1
        _join(row, words, _start(lines, g, i) + 64 * first)
    if row.size:
        row[row.size - 1] &= tail(lines.length - 64 * first, row.size - 1)


@inlined
def _join(row, words, start):
    """``row`` |= the words from bit ``start`` on."""
    if start & 63 or (start >> 6) + row.size > words.size:
        for w in range(row.size):
            row[w] |= bits_at(words, start + 64 * w)
    else:
        line = words[start >> 6 : (start >> 6) + row.size]
        for w in range(row.size):
            row[w] |= line[w]


@inlined
def _filled(row, size):
    for w in range(row.size):
        if ~row[w] & tail(size, w):
            return False
    return True


@compiled
def mark(words, laid, ends, along, out, first, last):
    """``out`` |= the kept connections of lines whose bit of ``ends`` is set to set bits of ``along``."""
    lines = _lines(laid)
    for i in range(first, last):
        g, place, start = _place(lines, i)
        if is_set(ends[g], place):
            _put_common(words, start, along[g], out)


@inlined
def _put_common(words, start, along, out):
    """``out`` |= the words from bit ``start`` on, where ``along`` has bits too."""
    if start & 63:
        for w in range(along.size):
            kept = bits_at(words, start + 64 * w) & along[w]
            if kept:
                put_bits(out, start + 64 * w, kept)
        return
    line, into = words[start >> 6 : (start >> 6) + along.size], out[start >> 6 : (start >> 6) + along.size]
    for w in range(along.size):
        into[w] |= line[w] & along[w]


@inlined
def _count_common(words, start, along):
    """How many bits the words from bit ``start`` on and ``along`` have in common."""
    total = np.int64(0)
    if start & 63:
        for w in range(along.size):
            total += ones(bits_at(words, start + 64 * w) & along[w])
        return total
    line = words[start >> 6 : (start >> 6) + along.size]
    for w in range(along.size):
        total += ones(line[w] & along[w])
    return total


@compiled
def count(words, laid, ends, along, first, last):
    """How many connections `mark` would set."""
    lines, total = _lines(laid), np.int64(0)
    for i in range(first, last):
        g, place, start = _place(lines, i)
        if is_set(ends[g], place):
            total += _count_common(words, start, along[g])
    return total


# Many positions: a map for each end.


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
    """``into[i]`` |= the maps of ``found`` to which line i keeps a connection.

    One that is full is enough; else those that are left are joined until nothing can be added.
    """
    lines = _lines(laid)
    maps, ceiling, _, full, rest = parts(found, lines.groups, lines.length, into.shape[1])
    for i in range(first, last):
        (g, _, start), mine = _place(lines, i), into[i]
        if _meets(words, start, full[g]):
            for p in range(mine.size):
                mine[p] = ceiling[g, p]
            continue
        w, lacking = _next_common(words, start, rest[g], np.int64(0)), np.uint64(1)
        while w < rest.shape[1] and lacking:
            kept = bits_at(words, start + 64 * w) & rest[g, w]
            while kept and lacking:
                other = maps[g * lines.length + 64 * w + trailing_zeros(kept)]
                kept &= kept - np.uint64(1)
                lacking = np.uint64(0)
                for p in range(mine.size):
                    mine[p] |= other[p]
                    lacking |= ceiling[g, p] & ~mine[p]
            w = _next_common(words, start, rest[g], w + 1)


@compiled
def spread(words, laid, found, into, first, last):
    """The maps ``into`` (groups * length, width) of words first to last along the lines |= the map in ``found`` of each
    line that keeps a connection to them.

    What a full map reaches has every bit of the ceiling, and is found 64 connections a step; only the other maps along
    the lines are looked at one by one, until they have every bit too.
    """
    lines = _lines(laid)
    maps, ceiling, _, full, rest = parts(found, lines.groups, lines.count, into.shape[1])
    open_ = np.empty(last - first, np.uint64)
    for g in range(lines.groups):
        open_[:] = 0
        _gather(words, lines, g, full[g], open_, first)
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
            _spread_one(words, _start(lines, g, i) + 64 * first, maps[g * lines.count + i], ceiling[g], open_, into,
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
    w = _next_common(words, start, open_, np.int64(0))
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
        w = _next_common(words, start, open_, w + 1)


@inlined
def _active(kept, w, mine, maps, base):
    """The kept connections of a word whose ends have a position in common."""
    active = np.uint64(0)
    while kept:
        low = trailing_zeros(kept)
        kept &= kept - np.uint64(1)
        if _shares(mine, maps[base + 64 * w + low]):
            active |= np.uint64(1) << np.uint64(low)
    return active


@compiled
def mark_maps(words, laid, ends, found, width, out, first, last):
    """``out`` |= the kept connections whose two ends have a position in common.

    ``ends`` are the lines' maps and ``found`` those along them. A line's map that has every bit of the ceiling shares one
    with each map that is not empty; any that shares one with the ceiling shares it with each full map.
    """
    lines = _lines(laid)
    mines = parts(ends, lines.groups, lines.count, width)[0]
    maps, ceiling, there, full, rest = parts(found, lines.groups, lines.length, width)
    for i in range(first, last):
        (g, _, start), mine = _place(lines, i), mines[i]
        if not _shares(mine, ceiling[g]):
            continue
        if _covers(mine, ceiling[g]):
            _put_common(words, start, there[g], out)
            continue
        _put_common(words, start, full[g], out)
        w = _next_common(words, start, rest[g], np.int64(0))
        while w < rest.shape[1]:
            kept = bits_at(words, start + 64 * w) & rest[g, w]
            put_bits(out, start + 64 * w, _active(kept, w, mine, maps, g * lines.length))
            w = _next_common(words, start, rest[g], w + 1)


@compiled
def count_maps(words, laid, ends, found, width, first, last):
    """How many connections `mark_maps` would set."""
    lines, total = _lines(laid), np.int64(0)
    mines = parts(ends, lines.groups, lines.count, width)[0]
    maps, ceiling, there, full, rest = parts(found, lines.groups, lines.length, width)
    for i in range(first, last):
        (g, _, start), mine = _place(lines, i), mines[i]
        if not _shares(mine, ceiling[g]):
            continue
        if _covers(mine, ceiling[g]):
            total += _count_common(words, start, there[g])
            continue
        total += _count_common(words, start, full[g])
        w = _next_common(words, start, rest[g], np.int64(0))
        while w < rest.shape[1]:
            kept = bits_at(words, start + 64 * w) & rest[g, w]
            total += ones(_active(kept, w, mine, maps, g * lines.length))
            w = _next_common(words, start, rest[g], w + 1)
    return total

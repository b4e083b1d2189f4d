"""Lines of a mask's bits against what lies along them, 64 connections a step.

A kernel lies in its parameter as lines of neighbouring entries: rows of the kernel, or, where it is the parameter's
transpose, columns. Each line belongs to one end of its connections; the entries along it are the other ends. At one
position an end is a bit (`meet`, `gather`, ...); at many it is a map, a row of words (`collect`, `spread`, ...).
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.kernels.maps import bits_at, is_set, put_bits, tail
from graphsparse.kernels.masks import ones, trailing_zeros


@inlined
def _start(lines, i):
    """The entry at which line i of all groups begins."""
    g = i // lines.count
    return lines.offset + g * lines.group_step + (i - g * lines.count) * lines.step


# One position: a bit for each end.


@compiled
def meet(words, lines, along, found, first, last):
    """Bit i of ``found`` = whether line i keeps a connection to a set bit of its group's row ``along``."""
    for i in range(first, last):
        g, start = i // lines.count, _start(lines, i)
        for w in range(along.shape[1]):
            if along[g, w] and bits_at(words, start + 64 * w) & along[g, w]:
                found[i >> 6] |= np.uint64(1) << np.uint64(i & 63)
                break


@compiled
def gather(words, lines, ends, into, first, last):
    """Words first to last of each group's row ``into`` |= its lines whose bit is set; left when every bit is set."""
    for g in range(lines.groups):
        row, unseen = into[g, first:last], 0
        for i in range(g * lines.count, (g + 1) * lines.count):
            if not is_set(ends, i):
                continue
            if unseen == 8:  # looking costs as much as a line
                if _filled(row, lines.length - 64 * first):
                    break
                unseen = 0
            unseen += 1
            _join(row, words, _start(lines, i) + 64 * first)
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
def mark(words, lines, ends, along, out, first, last):
    """``out`` |= the kept connections of lines whose bit is set to set bits along them."""
    for i in range(first, last):
        if is_set(ends, i):
            _put_common(words, _start(lines, i), along[i // lines.count], out)


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
def _next_common(words, start, along, w):
    """The first word from w on in which the words from bit ``start`` on and ``along`` have a bit in common."""
    if start & 63 == 0:
        line = words[start >> 6 : (start >> 6) + along.size]
        while w + 8 <= along.size:
            some = np.uint64(0)
            for k in range(8):
                some |= line[w + k] & along[w + k]
            if some:
                break
            w += 8
        while w < along.size and line[w] & along[w] == 0:
            w += 1
        return w
    while w < along.size and bits_at(words, start + 64 * w) & along[w] == 0:
        w += 1
    return w


@compiled
def count(words, lines, ends, along, counts, first, last):
    """``counts[first]`` += how many connections `mark` would set."""
    total = 0
    for i in range(first, last):
        if is_set(ends, i):
            g, start = i // lines.count, _start(lines, i)
            if start & 63:
                for w in range(along.shape[1]):
                    total += ones(bits_at(words, start + 64 * w) & along[g, w])
            else:
                for w in range(along.shape[1]):
                    total += ones(words[(start >> 6) + w] & along[g, w])
    if last > first:
        counts[first] += total


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
def collect(words, lines, maps, there, ceiling, into, first, last):
    """``into[i]`` |= the maps to which line i keeps a connection; left when it has every bit of its ceiling.

    ``maps`` (groups * length, width) lie along the lines; ``there`` says which of them are not empty.
    """
    for i in range(first, last):
        g, start, mine = i // lines.count, _start(lines, i), into[i]
        full = _covers(mine, ceiling[g])
        w = -1
        while not full:
            w = _next_common(words, start, there[g], w + 1)
            if w == there.shape[1]:
                break
            kept = bits_at(words, start + 64 * w) & there[g, w]
            while kept:
                other = maps[g * lines.length + 64 * w + trailing_zeros(kept)]
                kept &= kept - np.uint64(1)
                lacking = np.uint64(0)
                for p in range(mine.size):
                    mine[p] |= other[p]
                    lacking |= ceiling[g, p] & ~mine[p]
                if lacking == 0:
                    full = True
                    break


@compiled
def spread(words, lines, maps, ceiling, into, first, last):
    """The maps ``into`` (groups * length, width) of words first to last along the lines |= the map of each line that
    keeps a connection to them; a map that has every bit of its ceiling is not looked at again."""
    open_ = np.empty(last - first, np.uint64)
    for g in range(lines.groups):
        for w in range(open_.size):
            open_[w] = tail(lines.length, first + w)
        unseen = 0
        for i in range(g * lines.count, (g + 1) * lines.count):
            mine = maps[i]
            if _empty(mine):
                continue
            if unseen == 16:
                if _empty(open_):
                    break
                unseen = 0
            unseen += 1
            start = _start(lines, i)
            w = _next_common(words, start + 64 * first, open_, np.int64(0))
            while w < open_.size:
                kept = bits_at(words, start + 64 * (first + w)) & open_[w]
                while kept:
                    low = trailing_zeros(kept)
                    kept &= kept - np.uint64(1)
                    other = into[g * lines.length + 64 * (first + w) + low]
                    lacking = np.uint64(0)
                    for p in range(mine.size):
                        other[p] |= mine[p]
                        lacking |= ceiling[g, p] & ~other[p]
                    if lacking == 0:
                        open_[w] &= ~(np.uint64(1) << np.uint64(low))
                w = _next_common(words, start + 64 * first, open_, w + 1)


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
def mark_maps(words, lines, ends, maps, there, ceiling, out, first, last):
    """``out`` |= the kept connections whose two ends have a position in common.

    ``ends`` (groups * count, width) are the lines' maps and ``maps`` those along them; where a line's map has every bit
    of the ceiling of the others, all that are not empty share one with it.
    """
    for i in range(first, last):
        mine = ends[i]
        if _empty(mine):
            continue
        g, start = i // lines.count, _start(lines, i)
        if _covers(mine, ceiling[g]):
            _put_common(words, start, there[g], out)
            continue
        w = _next_common(words, start, there[g], np.int64(0))
        while w < there.shape[1]:
            kept = bits_at(words, start + 64 * w) & there[g, w]
            put_bits(out, start + 64 * w, _active(kept, w, mine, maps, g * lines.length))
            w = _next_common(words, start, there[g], w + 1)


@compiled
def count_maps(words, lines, ends, maps, there, ceiling, counts, first, last):
    """``counts[first]`` += how many connections `mark_maps` would set."""
    total = 0
    for i in range(first, last):
        mine = ends[i]
        if _empty(mine):
            continue
        g, start = i // lines.count, _start(lines, i)
        whole = _covers(mine, ceiling[g])
        for w in range(there.shape[1]):
            kept = there[g, w] & bits_at(words, start + 64 * w)
            total += ones(kept if whole else _active(kept, w, mine, maps, g * lines.length))
    if last > first:
        counts[first] += total

"""Kernel rows against maps of words, in which each bit belongs to a mask of its own.

Shapes: ``values`` (words, rows, columns) of a kernel; the rows of a group are neighbours. `read` finds of one side of a
kernel its ``maps`` (words, ends, positions); their ``ceiling`` (words, groups, positions), the bits that any map of a group
has; and (words, ends) under which masks a map has ``some`` bit, and under which it is ``full``, with every bit of the
ceiling. Full maps decide most connections, as if there were one position; only under the other masks are positions
looked at one by one.
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.bit_sums import add, new_sums, take
from graphsparse.kernels.compiling import compiled, inlined

BLOCK = 512  # words between two looks whether a row can still grow: long enough to vectorise, short enough to leave
SCANNED = 32  # words looked at together in a search
COUNTED = 4096  # words that are made and then counted, so that they stay in a near cache
ALL = ~np.uint64(0)


@compiled
def read(vector, ids, table, groups):
    """The maps, of which i * taps + k is what tap k of channel i reads, and their summary (see above)."""
    taps, positions = table.shape
    n = ids.shape[0] * taps
    maps = np.empty((vector.shape[0], n, positions), np.uint64)
    ceiling = np.zeros((vector.shape[0], groups, positions), np.uint64)
    some, full = np.zeros((vector.shape[0], n), np.uint64), np.empty((vector.shape[0], n), np.uint64)
    for w in range(vector.shape[0]):
        units = vector[w]
        for i in range(ids.shape[0]):
            for k in range(taps):
                into = maps[w, i * taps + k]
                for p in range(positions):
                    q = table[k, p]
                    into[p] = units[ids[i, q]] if q >= 0 else np.uint64(0)
        for j in range(n):
            g, held = j * groups // n, np.uint64(0)
            for p in range(positions):
                held |= maps[w, j, p]
                ceiling[w, g, p] |= maps[w, j, p]
            some[w, j] = held
        for j in range(n):
            g, lacking = j * groups // n, np.uint64(0)
            for p in range(positions):
                lacking |= ceiling[w, g, p] & ~maps[w, j, p]
            full[w, j] = some[w, j] & ~lacking
    return maps, ceiling, some, full


@inlined
def _joined(row, ends):
    """Under which masks the row keeps a connection to an end that is there; left when it is under all."""
    total = np.uint64(0)
    for start in range(0, row.size, BLOCK):
        part, there = row[start : start + BLOCK], ends[start : start + BLOCK]
        for j in range(part.size):
            total |= part[j] & there[j]
        if total == ALL:
            break
    return total


@inlined
def _pass(row, ends, masks, maps, mine, back):
    """``mine`` |= the maps to which the row keeps a connection; with ``back``, those maps |= ``mine``. Only bits of ``masks``
    and of the connection's end in ``ends`` count."""
    for start in range(0, row.size, SCANNED):
        part, there, found = row[start : start + SCANNED], ends[start : start + SCANNED], np.uint64(0)
        for j in range(part.size):
            found |= part[j] & there[j]
        if found & masks == 0:
            continue
        for j in range(part.size):
            kept = part[j] & there[j] & masks
            if kept:
                other = maps[start + j]
                if back:
                    for p in range(mine.size):
                        other[p] |= kept & mine[p]
                else:
                    for p in range(mine.size):
                        mine[p] |= kept & other[p]


@compiled
def forwards(values, maps, ceiling, some, full, y, first, last):
    """``y[w, r]`` = what rows first to last are brought by their columns' maps."""
    groups, columns = ceiling.shape[1], values.shape[2]
    for w in range(values.shape[0]):
        for r in range(first, last):
            g = r * groups // values.shape[1]
            a, b, mine = g * columns, (g + 1) * columns, y[w, r]
            got = _joined(values[w, r], full[w, a:b])
            for p in range(mine.size):
                mine[p] = got & ceiling[w, g, p]
            if got != ALL and mine.size > 1:
                _pass(values[w, r], some[w, a:b], ~got, maps[w, a:b], mine, False)


@inlined
def _gather(rows, ends, got):
    """``got`` |= each row & its end, four rows a step, until every bit is set."""
    for r in range(0, rows.shape[0] - 3, 4):
        a, b, c, d = ends[r], ends[r + 1], ends[r + 2], ends[r + 3]
        if r & 15 == 0 and _filled(got):  # looking costs as much as a row
            return
        if a | b | c | d:
            one, two, three, four = rows[r], rows[r + 1], rows[r + 2], rows[r + 3]
            for j in range(got.size):
                got[j] |= (one[j] & a) | (two[j] & b) | (three[j] & c) | (four[j] & d)
    for r in range(rows.shape[0] & ~3, rows.shape[0]):
        row, a = rows[r], ends[r]
        for j in range(got.size):
            got[j] |= row[j] & a


@inlined
def _filled(words):
    for j in range(words.size):
        if words[j] != ALL:
            return False
    return True


@compiled
def backwards(values, maps, ceiling, some, full, x, first, last):
    """``x[w, j]`` = what columns first to last of each group are brought by their rows' maps."""
    groups, columns = ceiling.shape[1], values.shape[2]
    count, got = values.shape[1] // groups, np.empty(last - first, np.uint64)
    for w in range(values.shape[0]):
        for g in range(groups):
            got[:] = 0
            _gather(values[w, g * count : (g + 1) * count, first:last], full[w, g * count : (g + 1) * count], got)
            into = x[w, g * columns + first : g * columns + last]
            for j in range(got.size):
                for p in range(into.shape[1]):
                    into[j, p] = got[j] & ceiling[w, g, p]
                got[j] = ~got[j]
            if into.shape[1] > 1:
                for r in range(g * count, (g + 1) * count):
                    if some[w, r] != full[w, r]:
                        _pass(values[w, r, first:last], got, some[w, r] & ~full[w, r], into, maps[w, r], True)


@inlined
def _active(row, maps, ceiling, some, full, mine, out):
    """``out`` = the masks under which the ends of each connection of a row have a position in common; False where none has.

    A full map has one in common with each map that has some bit. So a map that has one in common with the ceiling has one
    with each full map.
    """
    shares, lacking = np.uint64(0), np.uint64(0)
    for p in range(mine.size):
        shares |= mine[p] & ceiling[p]
        lacking |= ceiling[p] & ~mine[p]
    if shares == 0:
        return False
    covers, rest = shares & ~lacking, np.uint64(0)
    if covers == shares:
        for j in range(row.size):
            out[j] = row[j] & some[j] & shares
        return True
    for j in range(row.size):
        out[j] = row[j] & ((some[j] & covers) | (full[j] & shares))
        rest |= row[j] & some[j] & ~full[j]
    if rest & shares & lacking:
        for j in range(row.size):
            kept = row[j] & some[j] & ~full[j] & shares & lacking
            if kept:
                other, both = maps[j], np.uint64(0)
                for p in range(mine.size):
                    both |= mine[p] & other[p]
                out[j] |= kept & both
    return True


@compiled
def carried(values, maps, ceiling, some, full, y, out, first, last):
    """``out[w, r, j]`` = the masks under which each connection of rows first to last is active."""
    groups, columns = ceiling.shape[1], values.shape[2]
    for w in range(values.shape[0]):
        for r in range(first, last):
            g = r * groups // values.shape[1]
            a, b = g * columns, (g + 1) * columns
            row, into = values[w, r], out[w, r]
            if not _active(row, maps[w, a:b], ceiling[w, g], some[w, a:b], full[w, a:b], y[w, r], into):
                for j in range(columns):
                    into[j] = np.uint64(0)


@compiled
def count(values, maps, ceiling, some, full, y, first, last):
    """By mask, how many connections rows first to last keep and how many are active, int64 (2, words, 64).

    What is active is counted from a small buffer: to get the memory of the whole kernel from the system would take longer
    than all the rest.
    """
    groups, columns = ceiling.shape[1], values.shape[2]
    counts = np.zeros((2, values.shape[0], 64), np.int64)
    sums, buffer = new_sums(), np.empty(columns + COUNTED, np.uint64)
    for w in range(values.shape[0]):
        n = 0
        for r in range(first, last):
            g = r * groups // values.shape[1]
            a, b, into = g * columns, (g + 1) * columns, buffer[n : n + columns]
            if _active(values[w, r], maps[w, a:b], ceiling[w, g], some[w, a:b], full[w, a:b], y[w, r], into):
                n += columns
            if n >= COUNTED:
                add(buffer[:n], sums)
                n = 0
        add(buffer[:n], sums)
        take(sums, counts[1, w])
        add(values[w, first:last].reshape((last - first) * columns), sums)
        take(sums, counts[0, w])
    return counts

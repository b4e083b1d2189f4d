"""Kernel rows against the values of units, in any algebra of elements.

Shapes: ``values`` (rows, columns) of a kernel, contiguous along columns; the rows of a group are neighbours. ``x`` (groups,
columns, positions) are maps at the sources, ``y`` (rows, positions) at the targets. A ``ceiling`` (groups, positions) is
the sum of all maps of a group: in an algebra with a top the most that any map on the other side can hold, so that most
connections add nothing. One position has steps of its own, which go along many connections at once.
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import Loop, inlined
from graphsparse.kernels.elements import add, floor_of, is_top, least, mul, next_above, next_above_each

BLOCK = 512  # values between two looks whether a row can still grow: long enough to vectorise, short enough to leave


@Loop
def read(algebra, vector, ids, table, maps):
    """``maps[i * taps + k, p]`` = the value that tap k of channel i reads at output position p."""
    taps = table.shape[0]
    for i in range(ids.shape[0]):
        for k in range(taps):
            for p in range(table.shape[1]):
                q = table[k, p]
                maps[i * taps + k, p] = vector[ids[i, q]] if q >= 0 else vector[-1]


@Loop
def write(algebra, maps, ids, table, vector):
    """Add ``maps[i * taps + k, p]`` to the unit that tap k of channel i reads at output position p."""
    taps = table.shape[0]
    for i in range(ids.shape[0]):
        for k in range(taps):
            for p in range(table.shape[1]):
                q = table[k, p]
                if q >= 0 and ids[i, q] >= 0:
                    vector[ids[i, q]] = add(algebra, vector[ids[i, q]], maps[i * taps + k, p])


@Loop
def add_at(algebra, into, places, values):
    """Add values to the elements of ``into`` at their places, one of which may come twice."""
    for e in range(places.size):
        into[places[e]] = add(algebra, into[places[e]], values[e])


@Loop
def forwards(algebra, values, x, ceiling, y, first, last):
    """``y[r] += sum over j of values[r, j] * x[j]`` for rows first to last, left as soon as nothing can be added."""
    rows, columns = values.shape
    for r in range(first, last):
        g = r * x.shape[0] // rows
        if y.shape[1] == 1:
            y[r, 0] = _meet_row(algebra, values[r], x[g].reshape(columns), y[r, 0])
            continue
        lowest = least(algebra, ceiling[g])
        j = next_above(algebra, values[r], 0, floor_of(algebra, y[r], ceiling[g], lowest))
        while j < columns:
            _absorb(algebra, y[r], x[g, j], values[r, j])
            j = next_above(algebra, values[r], j + 1, floor_of(algebra, y[r], ceiling[g], lowest))


@inlined
def _meet_row(algebra, row, inputs, total):
    for start in range(0, row.size, BLOCK):
        if is_top(algebra, total):
            break
        total = _meet(algebra, row[start : start + BLOCK], inputs[start : start + BLOCK], total)
    return total


@inlined
def _meet(algebra, a, b, total):
    for i in range(a.size):
        total = add(algebra, total, mul(algebra, a[i], b[i]))
    return total


@inlined
def _absorb(algebra, into, row, value):
    for p in range(into.size):
        into[p] = add(algebra, into[p], mul(algebra, value, row[p]))


@Loop
def backwards(algebra, values, y, ceiling, x, first, last):
    """``x[j] += sum over r of values[r, j] * y[r]`` for columns first to last, left as soon as nothing can be added."""
    rows = values.shape[0] // x.shape[0]
    if y.shape[1] == 1:
        _backwards_one(algebra, values, y.reshape(y.shape[0]), x.reshape(x.shape[0], x.shape[1]), first, last)
        return
    lows = np.empty(last - first, values.dtype)
    for g in range(x.shape[0]):
        lowest, pending = least(algebra, ceiling[g]), 0
        for j in range(first, last):
            lows[j - first] = floor_of(algebra, x[g, j], ceiling[g], lowest)
            pending += not is_top(algebra, lows[j - first])
        for r in range(g * rows, (g + 1) * rows):
            if pending == 0:
                break
            if _total(algebra, y[r]) == algebra.zero:
                continue
            row = values[r, first:last]
            j = next_above_each(algebra, row, 0, lows)
            while j < last - first:
                _absorb(algebra, x[g, first + j], y[r], row[j])
                lows[j] = floor_of(algebra, x[g, first + j], ceiling[g], lowest)
                pending -= is_top(algebra, lows[j])
                j = next_above_each(algebra, row, j + 1, lows)


@inlined
def _backwards_one(algebra, values, y, x, first, last):
    """`backwards` at one position: ``y`` (rows,) and ``x`` (groups, columns)."""
    rows = values.shape[0] // x.shape[0]
    for g in range(x.shape[0]):
        unseen = 0
        for r in range(g * rows, (g + 1) * rows):
            if y[r] == algebra.zero:
                continue
            if unseen == 8:  # looking costs as much as a row
                if _all_top(algebra, x[g], first, last):
                    break
                unseen = 0
            unseen += 1
            _absorb(algebra, x[g, first:last], values[r, first:last], y[r])


@inlined
def _all_top(algebra, row, first, last):
    for j in range(first, last):
        if not is_top(algebra, row[j]):
            return False
    return True


@Loop
def connections(algebra, values, x, anywhere, ceiling, y, out, first, last):
    """``out[r, j] = values[r, j] * sum over positions of x[j] * y[r]`` for rows first to last.

    ``anywhere`` (groups, columns) is the sum of each ``x[j]`` over positions. With a top, ``values * anywhere * most``
    is the result unless it exceeds what ``y[r]`` holds everywhere; only what does needs a look at the positions.
    Without one it is zero only where the result is.
    """
    rows, columns = values.shape
    for r in range(first, last):
        g, most = r * x.shape[0] // rows, _total(algebra, y[r])
        if most == algebra.zero:
            out[r] = algebra.zero
            continue
        for j in range(columns):
            out[r, j] = mul(algebra, mul(algebra, values[r, j], anywhere[g, j]), most)
        if y.shape[1] == 1:
            continue
        low = floor_of(algebra, y[r], ceiling[g], least(algebra, ceiling[g]))
        j = next_above(algebra, out[r], 0, low)
        while j < columns:
            out[r, j] = mul(algebra, values[r, j], _meet(algebra, x[g, j], y[r], algebra.zero))
            j = next_above(algebra, out[r], j + 1, low)


@inlined
def _total(algebra, a):
    result = a[0]
    for p in range(1, a.size):
        result = add(algebra, result, a[p])
    return result


@Loop
def totals(algebra, maps, out):
    """``out[j]`` = the sum over positions of ``maps[j]``."""
    for j in range(out.size):
        out[j] = _total(algebra, maps[j])


@Loop
def ceilings(algebra, maps, out):
    """``out[g]`` = the sum over the maps of group ``g``, position by position; ``maps`` (groups, count, positions)."""
    for g in range(maps.shape[0]):
        for j in range(maps.shape[1]):
            for p in range(maps.shape[2]):
                out[g, p] = add(algebra, out[g, p], maps[g, j, p])


@Loop
def meet(algebra, a, b, total):
    """Add to ``total`` (1,) the products of what two vectors hold at each place."""
    total[0] = _meet(algebra, a, b, total[0])


@Loop
def join(algebra, vector, sources, targets):
    """``vector[target] += vector[source]`` for every wire, in order; a target may be no unit."""
    for e in range(sources.size):
        if targets[e] >= 0:
            vector[targets[e]] = add(algebra, vector[targets[e]], vector[sources[e]])


@Loop
def gate(algebra, signal, nonzero, known, lefts, rights, targets):
    """Products: each operand's signal passes as far as the other is not zero; which is found too if it is not known."""
    for e in range(targets.size):
        a, b, t = lefts[e], rights[e], targets[e]
        if not known:
            nonzero[t] = add(algebra, nonzero[t], mul(algebra, nonzero[a], nonzero[b]))
        moved = add(algebra, mul(algebra, signal[a], nonzero[b]), mul(algebra, nonzero[a], signal[b]))
        signal[t] = add(algebra, signal[t], moved)


@Loop
def gate_back(algebra, reach, nonzero, lefts, rights, targets):
    """An operand of a product reaches a sink if the product does, as far as the other operand is not zero."""
    for e in range(targets.size):
        a, b, t = lefts[e], rights[e], targets[e]
        if a >= 0:
            reach[a] = add(algebra, reach[a], mul(algebra, reach[t], nonzero[b]))
        if b >= 0:
            reach[b] = add(algebra, reach[b], mul(algebra, reach[t], nonzero[a]))

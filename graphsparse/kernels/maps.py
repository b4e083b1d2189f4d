"""Kernel rows against maps of positions: convolutions and sequence layers in unrolled resolution.

Shapes: ``values`` (rows, columns), contiguous along columns; ``x`` (groups, columns, width) at the sources, gathered
per tap; ``y`` (rows, width) at the targets; the rows of a group are neighbours. A ``ceiling`` (groups, width) is the
sum of all maps of a group: the most that any map on the other side can hold. In the boolean algebra values are bytes
and maps words of 64 positions; in (max, min) both floats.

Most connections add nothing: a map that already holds ``low`` wherever it can still grow takes nothing from values up to
``low`` (`floor_of`). Looking for the next value above that is a search at memory speed, in either algebra.
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.algebra import (
    add,
    compiled,
    floor_of,
    is_one,
    is_zero,
    mul,
    narrow,
    next_above,
    next_above_each,
    spread,
)


@compiled
def absorb(into, row, value):
    """``into += value * row``, position by position."""
    for p in range(into.size):
        into[p] = add(into[p], mul(value, row[p]))


@compiled
def total(a):
    """The sum over positions, as one element of the map."""
    result = a[0]
    for p in range(1, a.size):
        result = add(result, a[p])
    return result


@compiled
def least(a):
    """The product over positions."""
    result = a[0]
    for p in range(1, a.size):
        result = mul(result, a[p])
    return result


@compiled
def meet(a, b):
    """The sum over positions of ``a * b``, as one element of the map."""
    result = mul(a[0], b[0])
    for p in range(1, a.size):
        result = add(result, mul(a[p], b[p]))
    return result


@compiled
def totals(maps, out):
    """``out[j]`` = the sum over positions of ``maps[j]``, as a connection's value."""
    for j in range(out.size):
        out[j] = narrow(total(maps[j]), out[j])


@compiled
def ceilings(maps, out):
    """``out[g]`` = the sum over the maps of group ``g``, position by position; ``maps`` (groups, count, width)."""
    for g in range(maps.shape[0]):
        for j in range(maps.shape[1]):
            for p in range(maps.shape[2]):
                out[g, p] = add(out[g, p], maps[g, j, p])


@compiled
def forwards(values, x, ceiling, y, first, last):
    """``y[r] += sum over j of values[r, j] * x[j]`` for rows first to last."""
    rows, columns = values.shape
    for r in range(first, last):
        g = r * x.shape[0] // rows
        lowest = least(ceiling[g])
        low = narrow(floor_of(y[r], ceiling[g], lowest), values[r, 0])
        j = next_above(values[r], 0, low)
        while j < columns:
            absorb(y[r], x[g, j], spread(values[r, j], ceiling[g, 0]))
            low = narrow(floor_of(y[r], ceiling[g], lowest), values[r, j])
            j = next_above(values[r], j + 1, low)


@compiled
def backwards(values, y, ceiling, x, first, last):
    """``x[j] += sum over r of values[r, j] * y[r]`` for columns first to last; left when no map can grow."""
    rows = values.shape[0] // x.shape[0]
    lows = np.empty(last - first, values.dtype)
    for g in range(x.shape[0]):
        lowest, pending = least(ceiling[g]), 0
        for j in range(first, last):
            lows[j - first] = narrow(floor_of(x[g, j], ceiling[g], lowest), values[0, 0])
            pending += not is_one(lows[j - first])
        for r in range(g * rows, (g + 1) * rows):
            if pending == 0:
                break
            if is_zero(total(y[r])):
                continue
            row = values[r, first:last]
            j = next_above_each(row, 0, lows)
            while j < last - first:
                absorb(x[g, first + j], y[r], spread(row[j], ceiling[g, 0]))
                lows[j] = narrow(floor_of(x[g, first + j], ceiling[g], lowest), row[j])
                pending -= is_one(lows[j])
                j = next_above_each(row, j + 1, lows)


@compiled
def connections(values, x, anywhere, ceiling, y, out, first, last):
    """``out[r, j] = values[r, j] * sum over positions of x[j] * y[r]`` for rows first to last.

    ``anywhere`` (groups, columns) is the sum of each ``x[j]`` over positions. Where ``y[r]`` holds ``low`` at least, the
    sum is no less than what ``low`` lets through, so only what exceeds ``low`` needs a look at the positions.
    """
    rows, columns = values.shape
    for r in range(first, last):
        g = r * x.shape[0] // rows
        most = narrow(total(y[r]), values[r, 0])
        for j in range(columns):
            out[r, j] = mul(mul(values[r, j], anywhere[g, j]), most)
        if is_zero(most):
            continue
        low = narrow(floor_of(y[r], ceiling[g], least(ceiling[g])), values[r, 0])
        j = next_above(out[r], 0, low)
        while j < columns:
            out[r, j] = mul(values[r, j], narrow(meet(x[g, j], y[r]), values[r, j]))
            j = next_above(out[r], j + 1, low)

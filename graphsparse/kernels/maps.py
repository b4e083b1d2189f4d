"""Kernel rows against maps of positions: convolutions and sequence layers in unrolled resolution.

Shapes: ``values`` (rows, columns), contiguous along columns; ``x`` (groups, columns, width) at the sources, gathered
per tap; ``y`` (rows, width) at the targets; the rows of a group are neighbours. ``full`` (width,) is the map with
every position one. In the boolean algebra values are bytes and maps words of 64 positions; in (max, min) both floats.
"""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.algebra import (
    add,
    compiled,
    is_zero,
    mul,
    narrow,
    next_kept,
    next_kept_among,
    spread,
    zero_like,
)


@compiled
def absorb(into, row, value):
    """``into += value * row``, position by position."""
    for p in range(into.size):
        into[p] = add(into[p], mul(value, row[p]))


@compiled
def same(a, b):
    """Whether two maps are equal at every position."""
    for p in range(a.size):
        if a[p] != b[p]:
            return False
    return True


@compiled
def total(a):
    """The sum over positions, as one element of the map."""
    result = a[0]
    for p in range(1, a.size):
        result = add(result, a[p])
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
def forwards(values, x, full, y, first, last):
    """``y[r] += sum over j of values[r, j] * x[j]`` for rows first to last; a full map needs no more work."""
    rows, columns = values.shape
    for r in range(first, last):
        inputs = x[r * x.shape[0] // rows]
        j = next_kept(values[r], 0)
        while j < columns and not same(y[r], full):
            absorb(y[r], inputs[j], spread(values[r, j], full[0]))
            j = next_kept(values[r], j + 1)


@compiled
def backwards(values, y, full, x, first, last):
    """``x[j] += sum over r of values[r, j] * y[r]`` for columns first to last; left when every map is full."""
    rows = values.shape[0] // x.shape[0]
    unfilled = np.empty(last - first, np.uint8)  # a column whose map is full is skipped like a dropped connection
    for g in range(x.shape[0]):
        pending = 0
        for j in range(first, last):
            unfilled[j - first] = not same(x[g, j], full)
            pending += unfilled[j - first]
        for r in range(g * rows, (g + 1) * rows):
            if pending == 0:
                break
            if is_zero(total(y[r])):
                continue
            row = values[r, first:last]
            j = next_kept_among(row, unfilled, 0)
            while j < last - first:
                absorb(x[g, first + j], y[r], spread(row[j], full[0]))
                if same(x[g, first + j], full):
                    unfilled[j] = 0
                    pending -= 1
                j = next_kept_among(row, unfilled, j + 1)


@compiled
def connections(values, x, anywhere, full, y, out, first, last):
    """``out[r, j] = values[r, j] * sum over positions of x[j] * y[r]`` for rows first to last.

    ``anywhere`` (groups, columns) is the sum of each ``x[j]`` over positions: all that a row with a full map needs.
    """
    rows, columns = values.shape
    for r in range(first, last):
        g = r * x.shape[0] // rows
        if same(y[r], full):
            for j in range(columns):
                out[r, j] = mul(values[r, j], anywhere[g, j])
            continue
        for j in range(columns):
            out[r, j] = zero_like(values[r, j])
        if is_zero(total(y[r])):
            continue
        j = next_kept(values[r], 0)
        while j < columns:
            out[r, j] = mul(values[r, j], narrow(meet(x[g, j], y[r]), values[r, j]))
            j = next_kept(values[r], j + 1)

"""Kernel rows against one value per unit: fully connected layers, and every layer in channel resolution.

Shapes: ``values`` (rows, columns), contiguous along columns; ``x`` (groups, columns) at the sources; ``y`` (rows,) at
the targets; the rows of a group are neighbours. Bytes hold 0 or 1; floats hold a threshold.
"""

from __future__ import annotations

from graphsparse.kernels.algebra import add, compiled, is_one, is_zero, mul, zero_like

BLOCK = 512  # elements between two looks whether a row is settled: long enough to vectorise, short enough to leave early


@compiled
def forwards(values, x, y, first, last):
    """``y[r] += sum over j of values[r, j] * x[j]`` for rows first to last, left as soon as the row is one."""
    rows, columns = values.shape
    for r in range(first, last):
        inputs = x[r * x.shape[0] // rows]
        total = y[r]
        for start in range(0, columns, BLOCK):
            if is_one(total):
                break
            for j in range(start, min(start + BLOCK, columns)):
                total = add(total, mul(values[r, j], inputs[j]))
        y[r] = total


@compiled
def settled(row, first, last):
    """Whether nothing can be added to any element first to last."""
    for j in range(first, last):
        if not is_one(row[j]):
            return False
    return True


@compiled
def backwards(values, y, x, first, last):
    """``x[j] += sum over r of values[r, j] * y[r]`` for columns first to last, left as soon as all are one."""
    rows = values.shape[0] // x.shape[0]
    for g in range(x.shape[0]):
        reached = x[g]
        unseen = 0
        for r in range(g * rows, (g + 1) * rows):
            if is_zero(y[r]):
                continue
            if unseen == 8:  # looking costs as much as a row
                if settled(reached, first, last):
                    break
                unseen = 0
            unseen += 1
            for j in range(first, last):
                reached[j] = add(reached[j], mul(values[r, j], y[r]))


@compiled
def connections(values, x, y, out, first, last):
    """``out[r, j] = values[r, j] * x[j] * y[r]`` for rows first to last."""
    rows, columns = values.shape
    for r in range(first, last):
        if is_zero(y[r]):
            for j in range(columns):
                out[r, j] = zero_like(values[r, j])
            continue
        inputs = x[r * x.shape[0] // rows]
        for j in range(columns):
            out[r, j] = mul(mul(values[r, j], inputs[j]), y[r])

"""Kernel rows against one value per unit: fully connected layers, and every layer in channel resolution.

Shapes: ``values`` (rows, columns), contiguous along columns; ``x`` (groups, columns) at the sources; ``y`` (rows,) at
the targets; the rows of a group are neighbours. Bytes hold 0 or 1; floats hold a threshold.
"""

from __future__ import annotations

from graphsparse.kernels.algebra import add, compiled, is_one, is_zero, mul, zero_like

BLOCK = (
    512  # elements between two looks whether a row is settled: long enough to vectorise, short enough to leave early
)


@compiled
def meet(row, inputs, total):
    """``total + sum over j of row[j] * inputs[j]``."""
    for j in range(row.size):
        total = add(total, mul(row[j], inputs[j]))
    return total


@compiled
def forwards(values, x, y, first, last):
    """``y[r] += sum over j of values[r, j] * x[j]`` for rows first to last, left as soon as the row is one."""
    rows, columns = values.shape
    for r in range(first, last):
        inputs, total = x[r * x.shape[0] // rows], y[r]
        for start in range(0, columns, BLOCK):
            if is_one(total):
                break
            stop = min(start + BLOCK, columns)
            total = meet(values[r, start:stop], inputs[start:stop], total)
        y[r] = total


@compiled
def settled(row, first, last):
    """Whether nothing can be added to any element first to last."""
    for j in range(first, last):
        if not is_one(row[j]):
            return False
    return True


@compiled
def absorb(into, row, value):
    """``into += row * value``, element by element."""
    for j in range(into.size):
        into[j] = add(into[j], mul(row[j], value))


@compiled
def backwards(values, y, x, first, last):
    """``x[j] += sum over r of values[r, j] * y[r]`` for columns first to last, left as soon as all are one."""
    rows = values.shape[0] // x.shape[0]
    for g in range(x.shape[0]):
        unseen = 0
        for r in range(g * rows, (g + 1) * rows):
            if is_zero(y[r]):
                continue
            if unseen == 8:  # looking costs as much as a row
                if settled(x[g], first, last):
                    break
                unseen = 0
            unseen += 1
            absorb(x[g, first:last], values[r, first:last], y[r])


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

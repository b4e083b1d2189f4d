"""The n-th greatest of many floats, without sorting them; and counts at each different value of sorted ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.threads import each

SAMPLED = 1 << 16
BLOCK = 64
SPREADS = 8  # standard deviations of a sample's rank: the bracket misses next to never, and then costs a second look


def nth_greatest(arrays: Sequence[np.ndarray], n: int) -> np.floating:
    """The ``n``-th greatest (from 1) of all values of contiguous float arrays of one type, without NaN.

    An even sample brackets the value; one pass counts what lies above the bracket and takes out what lies in it, which
    is little. (Floyd and Rivest, Communications of the ACM 18(3), 1975.)

    Example:
        >>> float(nth_greatest([np.array([1.0, 4.0]), np.array([3.0, 3.0])], 2))
        3.0
    """
    flat = [array.reshape(-1) for array in arrays]
    total, work = sum(array.size for array in flat), sum(array.nbytes for array in flat)
    low, high = _bracket(flat, n / total, max(1, total // SAMPLED))

    parts = each(lambda values: _above_and_inside(values, low, high), flat, work)
    place, candidates = n - sum(count for count, _ in parts), np.concatenate([values for _, values in parts])
    if not 0 < place <= candidates.size:
        place, candidates = n, np.concatenate(flat)
    return np.partition(candidates, candidates.size - place)[candidates.size - place]


def _above_and_inside(values: np.ndarray, low: np.floating, high: np.floating) -> tuple[int, np.ndarray]:
    """How many values exceed the bracket, and those in it: few, unless many are equal."""
    inside = np.empty(values.size // 16 + BLOCK, values.dtype)
    above, count = _split(values, low, high, inside)
    return int(above), (inside[:count] if count <= inside.size else values[(values >= low) & (values <= high)])


def _bracket(flat: Sequence[np.ndarray], share: float, step: int) -> tuple[np.floating, np.floating]:
    """Two values, from an even sample, between which the least of the greatest ``share`` of all values lies."""
    sample = np.sort(np.concatenate([array[::step] for array in flat]))
    margin = SPREADS * (math.sqrt(sample.size * share * (1 - share)) + 1)
    place = sample.size * (1 - share)
    low, high = max(0, math.floor(place - margin)), min(sample.size - 1, math.ceil(place + margin))
    # at the ends of the order no sample bounds the value
    lowest, highest = sample.dtype.type(-np.inf), sample.dtype.type(np.inf)
    return (sample[low] if low else lowest), (sample[high] if high < sample.size - 1 else highest)


@compiled
def _split(values, low, high, inside):
    """Count the values above ``high`` and those from ``low`` to ``high``; write the latter to ``inside`` as far as they fit.

    Counting a block vectorises; only a block with a value inside is gone through.
    """
    above, count = 0, 0
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK]
        over, under = 0, 0
        for i in range(block.size):
            over += block[i] > high
            under += block[i] < low
        above += over
        if over + under < block.size:
            for i in range(block.size):
                if low <= block[i] <= high:
                    if count < inside.size:
                        inside[count] = block[i]
                    count += 1
    return above, count


@compiled
def count_falling(every, some, values, in_every, in_some):
    """For each different value of ``every``, from the greatest, how many of ``every`` and of ``some`` are no less.

    Both ascend. The last three arrays, as long as ``every``, are filled; returns the number of different values.
    """
    i, j, found = every.size, some.size, 0
    while i > 0:
        value = every[i - 1]
        while i > 0 and every[i - 1] >= value:
            i -= 1
        while j > 0 and some[j - 1] >= value:
            j -= 1
        values[found], in_every[found], in_some[found] = value, every.size - i, some.size - j
        found += 1
    return found

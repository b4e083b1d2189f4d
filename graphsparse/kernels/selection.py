"""The value at a place of the falling order of many floats, without sorting them; counts at every value, sorted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphsparse.kernels.algebra import compiled
from graphsparse.kernels.threads import each

SAMPLED = 1 << 16
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

    def inside(values: np.ndarray) -> tuple[int, np.ndarray]:
        return int(np.count_nonzero(values > high)), values[(values >= low) & (values <= high)]

    parts = each(inside, flat, work)
    place, candidates = n - sum(count for count, _ in parts), np.concatenate([values for _, values in parts])
    if not 0 < place <= candidates.size:
        place, candidates = n, np.concatenate(flat)
    return np.partition(candidates, candidates.size - place)[candidates.size - place]


def _bracket(flat: Sequence[np.ndarray], share: float, step: int) -> tuple[np.floating, np.floating]:
    """Two values of a sample between which the value lies that so large a share of all values does not fall below."""
    sample = np.sort(np.concatenate([array[::step] for array in flat]))
    margin = SPREADS * (math.sqrt(sample.size * share * (1 - share)) + 1)
    place = sample.size * (1 - share)
    low, high = max(0, math.floor(place - margin)), min(sample.size - 1, math.ceil(place + margin))
    # at the ends of the order no sample bounds the value
    lowest, highest = sample.dtype.type(-np.inf), sample.dtype.type(np.inf)
    return (sample[low] if low else lowest), (sample[high] if high < sample.size - 1 else highest)


@compiled
def count_falling(every, some, values, in_every, in_some):
    """Each different value of the ascending ``every``, from the greatest, with how many of either are no less.

    ``some`` ascends too. Fills the last three arrays, as long as ``every``, and returns how many values there are.
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

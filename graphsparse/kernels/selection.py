"""The value at a place of the falling order of many floats, without sorting them: a radix selection, 16 bits a pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphsparse.kernels.algebra import compiled
from graphsparse.kernels.threads import limit, over

DIGIT, BINS = 16, 1 << 16
_WORDS: dict[int, Any] = {4: np.uint32, 8: np.uint64}


def nth_greatest(arrays: Sequence[np.ndarray], n: int) -> np.floating:
    """The ``n``-th greatest (from 1) of all values of contiguous float arrays of one type, without NaN.

    Example:
        >>> float(nth_greatest([np.array([1.0, 4.0]), np.array([3.0, 3.0])], 2))
        3.0
    """
    dtype = arrays[0].dtype
    word = _WORDS[dtype.itemsize]
    left, prefix = n, 0
    for shift in range(8 * dtype.itemsize - DIGIT, -1, -DIGIT):
        counts = sum(_counted(array.reshape(-1).view(word), word(prefix), shift) for array in arrays)
        from_top = np.cumsum(np.asarray(counts)[::-1])
        place = int(np.searchsorted(from_top, left))
        left -= int(from_top[place - 1]) if place else 0
        prefix = (prefix << DIGIT) | (BINS - 1 - place)
    top = 8 * dtype.itemsize - 1
    bits = prefix ^ (1 << top) if prefix >> top else prefix ^ ((1 << (top + 1)) - 1)
    return np.array([bits], word).view(dtype)[0]


def _counted(bits: np.ndarray, prefix: Any, shift: int) -> np.ndarray:
    """How many values have each digit at ``shift`` among those that begin with ``prefix``."""
    parts = max(1, min(limit(), bits.size >> 18))
    counts = np.zeros((parts, BINS), np.int64)
    ends = np.linspace(0, bits.size, parts + 1).astype(np.int64)
    top = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    digit, whole = bits.dtype.type(shift), shift + DIGIT == 8 * bits.itemsize

    def loop(first: int, last: int) -> None:
        for part in range(first, last):
            _count(bits[ends[part] : ends[part + 1]], top, prefix, digit, whole, counts[part])

    over(parts, bits.nbytes, loop)
    return counts.sum(0)


@compiled
def _count(bits, top, prefix, shift, whole, counts):
    """The digit of each value, as its bits sort: a negative one's are turned over, a positive one's sign is set."""
    for i in range(bits.size):
        word = bits[i]
        word = ~word if word & top else word | top
        word >>= shift
        if whole or word >> type(word)(16) == prefix:
            counts[np.int64(word & type(word)(0xFFFF))] += 1

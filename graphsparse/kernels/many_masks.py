"""64 masks in the bits of a word: turned from a mask per row, and counted mask by mask."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.kernels.layout import Kernel
from graphsparse.kernels.numbers import Numbers
from graphsparse.kernels.threads import over

TILE = 512  # entries that are turned together, so that their words stay in the nearest cache
COUNTED = 4096  # words that are made and then counted, so that they stay in a near cache


class ManyMasks(Numbers):
    """The algebra of 64 masks in the bits of a word, which also counts by mask."""

    def counts(
        self,
        values: np.ndarray,
        uses: Iterable[tuple[Kernel, np.ndarray]],
        origin: np.ndarray,
        reach: np.ndarray,
    ) -> np.ndarray:
        """How many entries of a parameter each mask keeps, and how many are active under it, int64 (2, 64).

        ``values``: the parameter's words, in its shape; ``uses`` its kernels, each with the words that hold there.
        """
        uses = list(uses)
        kernel = uses[0][0] if len(uses) == 1 else None
        if kernel is None or kernel.many or not kernel.view.covers(values.size):
            active = self.connections(uses, values.shape, origin, reach)
            return np.stack([counts_by_mask(words.reshape(-1)) for words in (values, active)])
        rows, x, y = self._rows(kernel, uses[0][1]), self._inputs(kernel, origin), self._outputs(kernel, reach)
        parts: list[np.ndarray] = []

        def count(first: int, last: int) -> None:
            found = np.zeros((2, 64), np.int64)
            _count_rows(rows, x[:, :, 0], y[:, 0], found[0], found[1], first, last)
            parts.append(found)

        over(len(rows), rows.nbytes, count)
        return np.sum(parts, axis=0, dtype=np.int64)


def across(masks: np.ndarray) -> np.ndarray:
    """Bit m of word e = whether mask m keeps entry e; ``masks`` are bytes of 0 and 1, (at most 64, entries).

    Example:
        >>> across(np.array([[1, 0, 1], [0, 0, 1]], np.uint8))
        array([1, 0, 3], dtype=uint64)
    """
    words = np.zeros(masks.shape[1], np.uint64)
    _across(masks, words)
    return words


def counts_by_mask(words: np.ndarray) -> np.ndarray:
    """How many of the words have each bit set, int64 (64,).

    Example:
        >>> counts_by_mask(np.array([1, 0, 3], np.uint64))[:3]
        array([2, 1, 0])
    """
    counts = np.zeros(64, np.int64)
    _counts_by_mask(words, counts)
    return counts


@compiled
def _across(masks, words):
    for start in range(0, words.size, TILE):
        stop = min(start + TILE, words.size)
        for m in range(masks.shape[0]):
            row, into, shift = masks[m, start:stop], words[start:stop], np.uint64(m)
            for e in range(row.size):
                into[e] |= np.uint64(row[e]) << shift


@inlined
def _add(a, b, c):
    """The sum of three bits in every place: its low and its high bit."""
    half = a ^ b
    return half ^ c, (a & b) | (half & c)


@inlined
def _count(word, weight, counts):
    for m in range(64):
        counts[m] += weight * np.int64((word >> np.uint64(m)) & np.uint64(1))


@compiled
def _counts_by_mask(words, counts):
    """Sums in every bit place at once: 15 words become four sums of weight 1, 2, 4, 8 (Harley and Seal).

    Sixteen words with no bit set are skipped.
    """
    ones = twos = fours = eights = np.uint64(0)
    w = 0
    while w + 16 <= words.size:
        part = words[w : w + 16]
        w += 16
        some = np.uint64(0)
        for k in range(16):
            some |= part[k]
        if some == 0:
            continue
        ones, a = _add(ones, part[0], part[1])
        ones, b = _add(ones, part[2], part[3])
        twos, c = _add(twos, a, b)
        ones, a = _add(ones, part[4], part[5])
        ones, b = _add(ones, part[6], part[7])
        twos, d = _add(twos, a, b)
        fours, e = _add(fours, c, d)
        ones, a = _add(ones, part[8], part[9])
        ones, b = _add(ones, part[10], part[11])
        twos, c = _add(twos, a, b)
        ones, a = _add(ones, part[12], part[13])
        ones, b = _add(ones, part[14], part[15])
        twos, d = _add(twos, a, b)
        fours, f = _add(fours, c, d)
        eights, sixteens = _add(eights, e, f)
        if sixteens:
            _count(sixteens, 16, counts)
    _count(ones, 1, counts)
    _count(twos, 2, counts)
    _count(fours, 4, counts)
    _count(eights, 8, counts)
    while w < words.size:
        _count(words[w], 1, counts)
        w += 1


@compiled
def _count_rows(values, x, y, kept, active, first, last):
    """Count the words ``values[r, j]`` and ``values[r, j] & x[j] & y[r]`` of rows first to last by bit.

    What is carried is written to a small array and counted from there: an array of the kernel's size would cost more in
    memory that the system has to hand out than all the rest.
    """
    rows, columns = values.shape
    at_once = max(1, COUNTED // max(1, columns))
    carried = np.empty(at_once * columns, np.uint64)
    for start in range(first, last, at_once):
        stop, n, some = min(start + at_once, last), 0, np.uint64(0)
        for r in range(start, stop):
            inputs, row, into = x[r * x.shape[0] // rows], values[r], carried[n : n + columns]
            if y[r] != 0:
                for j in range(columns):
                    into[j] = row[j] & inputs[j] & y[r]
                some, n = some | y[r], n + columns
            _counts_by_mask(row, kept)
        if some != 0:
            _counts_by_mask(carried[:n], active)

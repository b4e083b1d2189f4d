"""Words in which each bit belongs to a mask of its own: made of masks, and counted by mask."""

from __future__ import annotations

import numpy as np

from graphsparse.kernels.compiling import compiled, inlined

TILE = 512  # entries that are turned together, so that their words stay in the nearest cache
LANES = 16  # sums that are made side by side
ADDED = 16 * LANES  # words that are added to sums at once
LEVELS = 40  # a sum of 2 ** 40 words is larger than any


def across(masks: np.ndarray) -> np.ndarray:
    """Bit m of word e = whether mask m keeps entry e; ``masks`` are bytes of 0 and 1, (at most 64, entries).

    Example:
        >>> across(np.array([[1, 0, 1], [0, 0, 1]], np.uint8))
        array([1, 0, 3], dtype=uint64)
    """
    words = np.zeros(masks.shape[1], np.uint64)
    _across(masks, words)
    return words


@compiled
def _across(masks, words):
    for start in range(0, words.size, TILE):
        stop = min(start + TILE, words.size)
        for m in range(masks.shape[0]):
            row, into, shift = masks[m, start:stop], words[start:stop], np.uint64(m)
            for e in range(row.size):
                into[e] |= np.uint64(row[e]) << shift


@inlined
def new_sums():
    """Sums in binary, one per mask and lane: bit m of ``sums[LANES * k + l]`` stands for 2 ** k in lane l of mask m."""
    return np.zeros(LEVELS * LANES, np.uint64)


@inlined
def add(words, sums):
    """Add words to sums, see `new_sums`."""
    carries, last, n = np.zeros(ADDED, np.uint64), np.empty(LANES, np.uint64), 0
    done = words.size - words.size % ADDED
    for start in range(0, done, ADDED):
        _add(words[start : start + ADDED], sums, carries[n : n + LANES])
        n += LANES
        if n == ADDED:
            _add(carries, sums[4 * LANES :], last)
            _carry(last, sums[8 * LANES :])
            n = 0
    rest = np.zeros(ADDED, np.uint64)
    rest[: words.size - done] = words[done:]
    _add(rest, sums, carries[n : n + LANES])
    carries[n + LANES :] = 0
    _add(carries, sums[4 * LANES :], last)
    _carry(last, sums[8 * LANES :])


@inlined
def _three(a, b, c):
    """The sum of three bits in every place: its low and its high bit."""
    half = a ^ b
    return half ^ c, (a & b) | (half & c)


@inlined
def _add(words, sums, carry):
    """Add 16 words in each lane: to the first four sums, and what overflows to ``carry`` (Harley and Seal)."""
    for i in range(LANES):
        n1, a = _three(sums[i], words[i], words[i + LANES])
        n1, b = _three(n1, words[i + 2 * LANES], words[i + 3 * LANES])
        n2, c = _three(sums[i + LANES], a, b)
        n1, a = _three(n1, words[i + 4 * LANES], words[i + 5 * LANES])
        n1, b = _three(n1, words[i + 6 * LANES], words[i + 7 * LANES])
        n2, d = _three(n2, a, b)
        n4, e = _three(sums[i + 2 * LANES], c, d)
        n1, a = _three(n1, words[i + 8 * LANES], words[i + 9 * LANES])
        n1, b = _three(n1, words[i + 10 * LANES], words[i + 11 * LANES])
        n2, c = _three(n2, a, b)
        n1, a = _three(n1, words[i + 12 * LANES], words[i + 13 * LANES])
        n1, b = _three(n1, words[i + 14 * LANES], words[i + 15 * LANES])
        n2, d = _three(n2, a, b)
        n4, f = _three(n4, c, d)
        n8, above = _three(sums[i + 3 * LANES], e, f)
        sums[i], sums[i + LANES], sums[i + 2 * LANES], sums[i + 3 * LANES], carry[i] = n1, n2, n4, n8, above


@inlined
def _carry(carry, sums):
    """Add a word in each lane to sums that are long enough."""
    some = True
    while some:
        found = np.uint64(0)
        for i in range(LANES):
            both = sums[i] & carry[i]
            sums[i] ^= carry[i]
            carry[i] = both
            found |= both
        sums, some = sums[LANES:], found != 0


@inlined
def take(sums, counts):
    """Add the sums to counts by mask, and make them zero."""
    for level in range(LEVELS):
        for i in range(LANES):
            word = sums[level * LANES + i]
            if word:
                for m in range(64):
                    counts[m] += np.int64((word >> np.uint64(m)) & np.uint64(1)) << level
            sums[level * LANES + i] = np.uint64(0)


@compiled
def counts_by_mask(words):
    """How many of the words (n, any) have each bit set, int64 (n, 64).

    Example:
        >>> counts_by_mask(np.array([[1, 0, 3]], np.uint64))[0, :3]
        array([2, 1, 0])
    """
    counts, sums = np.zeros((words.shape[0], 64), np.int64), new_sums()
    for w in range(words.shape[0]):
        add(words[w], sums)
        take(sums, counts[w])
    return counts

"""Distinct ids, and distinct rows of them, in one pass without sorting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphsparse.kernels.compiling import compiled

ODD = np.uint64(0x9E3779B97F4A7C15)
HALF = np.uint64(32)


def distinct_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of the first row of each kind, in order of appearance, and the kind of each row.

    ``rows`` (n, k) int64, C-contiguous; both results are int64.

    Example:
        >>> first, kind = distinct_rows(np.array([[2, 1], [0, 0], [2, 1]]))
        >>> first.tolist(), kind.tolist()
        ([0, 1], [0, 1, 0])
    """
    if rising(rows):
        return np.arange(len(rows)), np.arange(len(rows))
    kind = np.empty(len(rows), np.int64)
    table = np.full(1 << max(2 * len(rows) - 1, 1).bit_length(), -1, np.int32 if len(rows) < 2**31 else np.int64)
    first = np.empty(len(rows), np.int64)
    count = _fill(rows, table, first, kind)
    return first[:count].copy(), kind


def distinct_ids(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The distinct ids from 0 on in some arrays, ascending, int64. Takes one byte for each id up to the largest.

    Example:
        >>> distinct_ids([np.array([4, -1, 0]), np.array([4, 2])]).tolist()
        [0, 2, 4]
    """
    seen = np.zeros(max((int(ids.max()) + 1 for ids in arrays if ids.size), default=0), bool)
    for ids in arrays:
        seen[ids[ids >= 0]] = True
    return np.flatnonzero(seen)


def owners(ids: np.ndarray, owner: np.ndarray) -> list[int]:
    """To whom ids belong, ascending; ``owner`` has the one of each id from 0 on, rising. Negative ids belong to none.

    Example:
        >>> owners(np.array([3, -1, 0]), np.array([0, 0, 1, 2]))
        [0, 2]
    """
    seen = np.zeros(int(owner[-1]) + 1 if len(owner) else 0, np.bool_)
    _see(ids.reshape(-1), owner, seen)
    return np.flatnonzero(seen).tolist()


@compiled
def _see(ids, owner, seen):
    for each in ids:
        if each >= 0:
            seen[owner[each]] = True


@compiled
def ordered_pairs(pairs):
    """Pairs of units as sets, the greater unit first and 0 beside one alone; and whether each holds -1, a constant.

    ``pairs`` (n, 2) int64, units from 1 on, 0 for none; the results (n, 2) int64 and (n,) bool.

    Example:
        >>> members, constant = ordered_pairs(np.array([[1, 2], [3, -1], [4, 4]]))
        >>> members.tolist(), constant.tolist()
        ([[2, 1], [3, 0], [4, 0]], [False, True, False])
    """
    members, constant = np.empty_like(pairs), np.empty(len(pairs), np.bool_)
    for row in range(len(pairs)):
        one, other = pairs[row, 0], pairs[row, 1]
        constant[row] = (one == -1) | (other == -1)
        most, least = max(one, other, 0), max(min(one, other), 0)
        members[row, 0], members[row, 1] = most, 0 if least == most else least
    return members, constant


def rising(rows: np.ndarray) -> bool:
    """Whether rows (n, k) rise one by one, as numbers whose digits are the columns, from either side: no two are equal.

    Example:
        >>> rising(np.array([[1, 7], [2, 3], [2, 4]])), rising(np.array([[1, 3], [0, 4]])), rising(np.array([[1, 1], [1, 1]]))
        (True, True, False)
    """
    rows = np.ascontiguousarray(rows)
    return bool(_rise(rows, 0, 1) or _rise(rows, rows.shape[1] - 1, -1))


@compiled
def _rise(rows, first, step):
    for row in range(1, rows.shape[0]):
        column = first
        while 0 <= column < rows.shape[1] and rows[row, column] == rows[row - 1, column]:
            column += step
        if not 0 <= column < rows.shape[1] or rows[row, column] < rows[row - 1, column]:
            return False
    return True


@compiled
def wires(members, first):
    """Wires from the members of each row to a unit of its own, as sources and targets, int32.

    ``members`` (n, k) units from 1 on, 0 for none; row i feeds the unit ``first + i``. Both results count units from 0 on.

    Example:
        >>> [each.tolist() for each in wires(np.array([[2, 1], [3, 0]]), 4)]
        [[1, 0, 2], [3, 3, 4]]
    """
    count, at = np.count_nonzero(members), 0
    sources, targets = np.empty(count, np.int32), np.empty(count, np.int32)
    for row in range(members.shape[0]):
        for column in range(members.shape[1]):
            if members[row, column] != 0:
                sources[at], targets[at] = members[row, column] - 1, first - 1 + row
                at += 1
    return sources, targets


@compiled
def _fill(rows, table, first, kind):
    """Enters each row in a table with open addresses; equal rows are found by comparing them whole."""
    last, count = np.uint64(len(table) - 1), 0
    for row in range(rows.shape[0]):
        mixed = np.uint64(0)
        for column in range(rows.shape[1]):
            mixed = (mixed ^ np.uint64(rows[row, column])) * ODD
            mixed ^= mixed >> HALF
        slot = mixed & last
        while True:
            known = table[slot]
            if known < 0:
                table[slot] = count
                first[count], kind[row] = row, count
                count += 1
                break
            same = first[known]
            column = 0
            while column < rows.shape[1] and rows[same, column] == rows[row, column]:
                column += 1
            if column == rows.shape[1]:
                kind[row] = known
                break
            slot = (slot + np.uint64(1)) & last
    return count

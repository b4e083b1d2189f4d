"""Kernel blocks whose mask is bits: one value per unit against lines of the mask, 64 connections a step.

A kernel lies in its parameter as lines of neighbouring entries: the line of a target (its columns), or, where the kernel
is the parameter's transpose, the line of a source (its rows). Forwards and backwards are then the same two loops, one
along the lines and one across them. Boolean algebra alone: a threshold is no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from graphsparse.kernels.algebra import compiled
from graphsparse.kernels.columns import Taps, gather_flat, scatter_flat
from graphsparse.kernels.packed import WORD, PackedMask, ones, pack_flags, word_count
from graphsparse.kernels.threads import over

CACHE_LINE_WORDS = 8
_SELF = Taps.of(np.zeros((1, 1)), 1)


@dataclass(frozen=True, eq=False)
class Lines:
    """A kernel (groups, rows, columns) as lines of a parameter's bits.

    Line i of group g begins at bit ``offset + g * group_step + i * step`` of ``words`` and is ``length`` long; there are
    ``count`` lines a group. ``by_source``: a line is a column of the kernel and runs over its rows.
    """

    words: np.ndarray
    offset: int
    groups: int
    group_step: int
    count: int
    step: int
    length: int
    by_source: bool

    @property
    def geometry(self) -> tuple[int, int, int, int]:
        """What the loops need to find a line."""
        return self.offset, self.group_step, self.count, self.step

    @property
    def nbytes(self) -> int:
        """Bytes that a pass over all lines reads."""
        return self.groups * self.count * self.length // 8

    @property
    def apart(self) -> int:
        """Lines after which a word begins, so that two threads do not write to one; all of them where that is never."""
        whole = self.offset % WORD == 0 and self.group_step == self.count * self.step and self.step == self.length
        return WORD // gcd(self.step, WORD) if whole else self.groups * self.count


def lines_of(mask: PackedMask, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Lines | None:
    """The lines of the strided view (groups, rows, *columns) of a mask; None where it has none."""
    columns = _one_axis(shape[2:], strides[2:])
    if columns is None:
        return None
    (n, step), (groups, group_step), (rows, row_step) = columns, *zip(shape[:2], strides[:2])
    if step == 1 or n == 1:
        return Lines(mask.words, offset, groups, group_step, rows, row_step, n, False)
    if row_step == 1 or rows == 1:
        return Lines(mask.words, offset, groups, group_step, n, step, rows, True)
    return None


def _one_axis(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int] | None:
    """Size and stride of several axes as one, where neighbours lie at one distance."""
    n, step = 1, 1
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size == 1:
            continue
        if n == 1:
            n, step = size, stride
        elif stride == n * step:
            n *= size
        else:
            return None
    return n, step


def forwards(lines: Lines, vector, sources, taps: Taps, targets) -> None:
    """Add to the targets what their kept connections bring from the sources; bytes of 0 and 1 by unit."""
    x = gather_flat(vector, _rows(sources), taps)
    y = _across(lines, x) if lines.by_source else _along(lines, x)
    scatter_flat(y, _rows(targets), _SELF, vector)


def backwards(lines: Lines, vector, sources, taps: Taps, targets) -> None:
    """Add to the sources what their kept connections bring from the targets."""
    y = vector[targets.reshape(-1)]
    x = _along(lines, y) if lines.by_source else _across(lines, y)
    scatter_flat(x, _rows(sources), taps, vector)


def mark(lines: Lines, signal, reach, sources, taps: Taps, targets, out: np.ndarray) -> None:
    """Set the bits of the active connections in ``out``, the words of a mask of the parameter."""
    ends, among = _ends(lines, signal, reach, sources, taps, targets)
    over(
        len(ends),
        lines.nbytes,
        lambda first, last: _mark(lines.words, *lines.geometry, ends, among, out, first, last),
        lines.apart,
    )


def count_connections(lines: Lines, signal, reach, sources, taps: Taps, targets) -> int:
    """How many connections are active, without making them."""
    ends, among = _ends(lines, signal, reach, sources, taps, targets)
    counts = np.zeros(len(ends), np.int64)
    over(
        len(ends),
        lines.nbytes,
        lambda first, last: _count(lines.words, *lines.geometry, ends, among, counts, first, last),
        CACHE_LINE_WORDS,
    )
    return int(counts.sum())


def _ends(lines: Lines, signal, reach, sources, taps: Taps, targets) -> tuple[np.ndarray, np.ndarray]:
    """A flag for each line, and bits for the places along the lines of each group."""
    x, y = gather_flat(signal, _rows(sources), taps), reach[targets.reshape(-1)]
    by_line, along = (x, y) if lines.by_source else (y, x)
    return by_line, _table(lines, along)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])


def _table(lines: Lines, flags: np.ndarray) -> np.ndarray:
    """Bytes along the lines as words, (groups, words), each group beginning a word."""
    return np.stack([pack_flags(part) for part in flags.reshape(lines.groups, lines.length)])


def _along(lines: Lines, flags: np.ndarray) -> np.ndarray:
    """For each line whether a kept connection meets a flag, bytes (groups * count,)."""
    among, found = _table(lines, flags), np.zeros(lines.groups * lines.count, np.uint8)
    over(len(found), lines.nbytes, lambda a, b: _meet(lines.words, *lines.geometry, among, found, a, b), WORD)
    return found


def _across(lines: Lines, flags: np.ndarray) -> np.ndarray:
    """For each place along the lines whether a flagged line keeps it, bytes (groups * length,)."""
    width = word_count(lines.length)
    full = pack_flags(np.ones(lines.length, bool))
    into = np.zeros((lines.groups, width), np.uint64)
    over(
        width,
        lines.nbytes,
        lambda first, last: _gather(lines.words, *lines.geometry, flags, full, into, first, last),
        CACHE_LINE_WORDS,
    )
    octets = into.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=lines.length, bitorder="little").reshape(-1)


@compiled
def _word_at(words, bit):
    """The 64 bits that begin at a bit; beyond the last word they are 0."""
    k, shift = bit >> 6, np.uint64(bit & 63)
    low = words[k] >> shift
    if shift and k + 1 < words.size:
        low |= words[k + 1] << (np.uint64(64) - shift)
    return low


@compiled
def _meet(words, offset, group_step, count, step, among, found, first, last):
    """``found[i]`` = whether line i has a bit in common with its group's row of ``among``, left at the first."""
    for i in range(first, last):
        g = i // count
        start = offset + g * group_step + (i - g * count) * step
        for w in range(among.shape[1]):
            if among[g, w] and _word_at(words, start + 64 * w) & among[g, w]:
                found[i] = 1
                break


@compiled
def _gather(words, offset, group_step, count, step, flags, full, into, first, last):
    """Each group's row of ``into`` |= its flagged lines, for words first to last, left when every bit is set."""
    for g in range(into.shape[0]):
        row, unseen = into[g, first:last], 0
        for i in range(count):
            if not flags[g * count + i]:
                continue
            if unseen == 8:  # looking costs as much as a line
                if _filled(row, full[first:last]):
                    break
                unseen = 0
            unseen += 1
            start = offset + g * group_step + i * step + 64 * first
            if start & 63:
                for w in range(row.size):
                    row[w] |= _word_at(words, start + 64 * w)
            else:
                _join(row, words[start >> 6 : (start >> 6) + row.size])


@compiled
def _join(row, line):
    for w in range(row.size):
        row[w] |= line[w]


@compiled
def _filled(row, full):
    for w in range(row.size):
        if row[w] & full[w] != full[w]:
            return False
    return True


@compiled
def _mark(words, offset, group_step, count, step, flags, among, out, first, last):
    """``out`` |= the bits of the flagged lines that are also in their group's row of ``among``."""
    for i in range(first, last):
        if not flags[i]:
            continue
        g = i // count
        start = offset + g * group_step + (i - g * count) * step
        k, shift = start >> 6, np.uint64(start & 63)
        if shift:
            for w in range(among.shape[1]):
                kept = _word_at(words, start + 64 * w) & among[g, w]
                out[k + w] |= kept << shift
                if kept >> (np.uint64(64) - shift):
                    out[k + w + 1] |= kept >> (np.uint64(64) - shift)
        else:
            for w in range(among.shape[1]):
                out[k + w] |= words[k + w] & among[g, w]


@compiled
def _count(words, offset, group_step, count, step, flags, among, counts, first, last):
    """``counts[i]`` = the bits of line i that are also in its group's row of ``among``, where the line is flagged."""
    for i in range(first, last):
        if not flags[i]:
            continue
        g = i // count
        start = offset + g * group_step + (i - g * count) * step
        total = 0
        if start & 63:
            for w in range(among.shape[1]):
                total += ones(_word_at(words, start + 64 * w) & among[g, w])
        else:
            for w in range(among.shape[1]):
                total += ones(words[(start >> 6) + w] & among[g, w])
        counts[i] = total

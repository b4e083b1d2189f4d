"""Masks as bits, and the boolean sweep on them: one position, a whole parameter as a table of rows of words.

A table has a row per entry of the parameter's first axis and a bit per entry of all others; column j is bit j % 64 of
word j // 64, the bits that pad a row are 0. A kernel may be the table as it stands (rows are targets) or turned over
(rows are sources: embeddings, kernels that are stored inputs first). Either way its rows lie in ``groups`` of
neighbours, each with columns of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphsparse.kernels.algebra import compiled
from graphsparse.kernels.columns import Taps, gather_flat, scatter_flat
from graphsparse.kernels.threads import over

WORD = 64
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A parameter's mask as bits: its ``shape``, and ``words``, uint64 (rows, words of a row)."""

    shape: Shape
    words: np.ndarray

    def unpack(self) -> np.ndarray:
        """The mask as a bool array of its shape."""
        return unpack_words(self.words, self.shape)

    def count(self) -> int:
        """How many entries are set."""
        return _count_all(self.words.reshape(-1))


Mask = np.ndarray | PackedMask


def dense(mask: Mask) -> np.ndarray:
    """A mask as an array, whichever way it is held."""
    return mask.unpack().view(np.uint8) if isinstance(mask, PackedMask) else mask


def count(mask: Mask) -> int:
    """How many entries of a mask are set, whichever way it is held."""
    return mask.count() if isinstance(mask, PackedMask) else int(np.count_nonzero(mask))


def table_shape(shape: Shape) -> tuple[int, int]:
    """Returns (rows, columns) of a tensor that is read as a table: its first axis, and all the others flattened."""
    return (1, prod(shape)) if len(shape) < 2 else (int(shape[0]), prod(shape[1:]))


def unpack_words(packed: np.ndarray, shape: Shape) -> np.ndarray:
    """Returns the bool array of the given shape whose non-zeros a table holds.

    Example:
        >>> unpack_words(np.array([[2], [5]], dtype=np.uint64), (2, 3))
        array([[False,  True, False],
               [ True, False,  True]])
    """
    rows, columns = table_shape(shape)
    if not rows * columns:
        return np.zeros(shape, bool)
    octets = packed.astype("<u8", copy=False).view(np.uint8).reshape(rows, -1)
    return np.unpackbits(octets, axis=1, count=columns, bitorder="little").view(bool).reshape(shape)


@dataclass(frozen=True, eq=False)
class PackedKernel:
    """A kernel block's mask as a table; ``turned``: rows are sources instead of targets."""

    mask: PackedMask
    groups: int
    turned: bool

    @property
    def columns(self) -> int:
        """Bits of a row."""
        return table_shape(self.mask.shape)[1]


def forwards(kernel: PackedKernel, vector: np.ndarray, sources: np.ndarray, taps: Taps, targets: np.ndarray) -> None:
    """Add to the targets what their kept connections bring from the sources."""
    x = gather_flat(vector, _rows(sources), taps)
    scatter_flat(_across(kernel, x) if kernel.turned else _along(kernel, x), _rows(targets), _SELF, vector)


def backwards(kernel: PackedKernel, vector: np.ndarray, sources: np.ndarray, taps: Taps, targets: np.ndarray) -> None:
    """Add to the sources what their kept connections bring from the targets."""
    y = vector[targets.reshape(-1)]
    scatter_flat(_along(kernel, y) if kernel.turned else _across(kernel, y), _rows(sources), taps, vector)


def connections(
    kernel: PackedKernel, signal: np.ndarray, reach: np.ndarray, sources: np.ndarray, taps: Taps, targets: np.ndarray
) -> PackedMask:
    """The kept connections whose origin is signal and whose target reaches a sink."""
    words, by_row, by_column = _ends(kernel, signal, reach, sources, taps, targets)
    result = np.empty_like(words)
    over(len(words), words.nbytes, lambda first, last: _meet(words, by_row, by_column, result, first, last))
    return PackedMask(kernel.mask.shape, result)


def count_connections(
    kernel: PackedKernel, signal: np.ndarray, reach: np.ndarray, sources: np.ndarray, taps: Taps, targets: np.ndarray
) -> int:
    """How many `connections` there are, without making them."""
    words, by_row, by_column = _ends(kernel, signal, reach, sources, taps, targets)
    counts = np.zeros(len(words), np.int64)
    over(len(words), words.nbytes, lambda first, last: _count(words, by_row, by_column, counts, first, last))
    return int(counts.sum())


def _ends(kernel, signal, reach, sources, taps, targets):
    """The table, a flag for each of its rows, and bits for the columns of each group."""
    x, y = gather_flat(signal, _rows(sources), taps), reach[targets.reshape(-1)]
    by_row, by_column = (x, y) if kernel.turned else (y, x)
    return kernel.mask.words, by_row, _packed(by_column, kernel.groups)


def _along(kernel: PackedKernel, flags: np.ndarray) -> np.ndarray:
    """For each row whether it has a kept entry in a column whose flag is set."""
    words, columns = kernel.mask.words, _packed(flags, kernel.groups)
    found = np.zeros(len(words), np.uint8)
    over(len(words), words.nbytes, lambda first, last: _any(words, columns, found, first, last))
    return found


def _across(kernel: PackedKernel, flags: np.ndarray) -> np.ndarray:
    """For each column of each group whether it has a kept entry in a row whose flag is set."""
    words = kernel.mask.words
    found = np.zeros((kernel.groups, words.shape[1]), np.uint64)
    full = _packed(np.ones(kernel.groups * kernel.columns, np.uint8), kernel.groups)
    over(words.shape[1], words.nbytes, lambda first, last: _union(words, flags, full, found, first, last), 8)
    octets = found.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=kernel.columns, bitorder="little").reshape(-1)


def _packed(flags: np.ndarray, groups: int) -> np.ndarray:
    """Flags (groups * columns,) as words (groups, words)."""
    rows = flags.reshape(groups, -1)
    padded = np.zeros((groups, -(-rows.shape[1] // WORD) * 8), np.uint8)
    octets = np.packbits(rows, axis=1, bitorder="little")
    padded[:, : octets.shape[1]] = octets
    return padded.view("<u8").astype(np.uint64, copy=False)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])


_SELF = Taps.of(np.zeros((1, 1)), 1)


@intrinsic
def ones(typing_context, word):
    """The number of bits that are set in a uint64."""

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.ctpop", [kind], ir.FunctionType(kind, [kind]))
        return builder.call(function, arguments)

    return types.int64(types.uint64), generate


@compiled
def _any(words, columns, found, first, last):
    for r in range(first, last):
        row, among = words[r], columns[r * columns.shape[0] // words.shape[0]]
        w = 0
        while w < row.size and found[r] == 0:
            met, stop = np.uint64(0), min(w + 64, row.size)  # words between two looks whether the row is settled
            for i in range(w, stop):
                met |= row[i] & among[i]
            found[r] = met != 0
            w = stop


@compiled
def _union(words, flags, full, found, first, last):
    rows = words.shape[0] // found.shape[0]
    for g in range(found.shape[0]):
        unseen = 0
        for r in range(g * rows, (g + 1) * rows):
            if flags[r] == 0:
                continue
            for w in range(first, last):
                found[g, w] |= words[r, w]
            unseen += 1
            if unseen == 8:  # looking costs as much as a row
                unseen, lacking = 0, np.uint64(0)
                for w in range(first, last):
                    lacking |= full[g, w] & ~found[g, w]
                if lacking == 0:
                    break


@compiled
def _meet(words, by_row, by_column, result, first, last):
    for r in range(first, last):
        among = by_column[r * by_column.shape[0] // words.shape[0]]
        for w in range(words.shape[1]):
            result[r, w] = words[r, w] & among[w] if by_row[r] else np.uint64(0)


@compiled
def _count(words, by_row, by_column, counts, first, last):
    for r in range(first, last):
        if by_row[r]:
            among = by_column[r * by_column.shape[0] // words.shape[0]]
            total = 0
            for w in range(words.shape[1]):
                total += ones(words[r, w] & among[w])
            counts[r] = total


@compiled
def _count_all(words):
    total = 0
    for w in range(words.size):
        total += ones(words[w])
    return total

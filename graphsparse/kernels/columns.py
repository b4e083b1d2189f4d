"""Unit values gathered into the columns that a kernel reads, and scattered back.

``ids`` (rows, size) are the units of each input channel (or of each output channel); ``taps`` says which of them a
tap reads at each output position. A unit id below zero is no unit: -1 is always zero, -2 a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphsparse.kernels.algebra import add, compiled, is_zero

WORD = 64


def words(positions: int) -> int:
    """The number of machine words that hold a bit for each position."""
    return -(-positions // WORD)


@dataclass(frozen=True, eq=False)
class Taps:
    """Which position of its input channel each tap of a kernel reads at each output position.

    ``table`` (taps, positions) holds positions among ``size``, or -1 where the tap sees padding. Where a tap reads at
    one distance everywhere, ``shifts`` holds the distances and a map moves by shifting words; otherwise by table.
    ``valid`` (taps, words) has a bit at each position where the tap sees no padding.
    """

    table: np.ndarray
    size: int
    shifts: np.ndarray | None
    valid: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray, size: int) -> Taps:
        """The taps of a table, with everything that follows from it."""
        table = np.ascontiguousarray(table, dtype=np.int32)
        distance = table - np.arange(table.shape[1], dtype=np.int32)
        seen = table >= 0
        shifts = np.take_along_axis(distance, seen.argmax(1)[:, None], 1)[:, 0]
        uniform = bool(((distance == shifts[:, None]) | ~seen).all())
        return cls(table, size, shifts if uniform else None, _bits(seen))

    @property
    def positions(self) -> int:
        """The number of output positions."""
        return self.table.shape[1]


def _bits(flags: np.ndarray) -> np.ndarray:
    """Flags (rows, n) as bits (rows, words(n)), lowest bit first."""
    padded = np.zeros((flags.shape[0], words(flags.shape[1]) * WORD), np.uint8)
    padded[:, : flags.shape[1]] = flags
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def full_map(positions: int, dtype: np.dtype) -> np.ndarray:
    """The map that is one at every position, in the layout that goes with unit values of ``dtype``."""
    if dtype.kind == "f":
        return np.full(positions, np.inf, dtype)
    return _bits(np.ones((1, positions), np.uint8))[0]


def empty_flat(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Values of one position that are all zero."""
    return np.full(shape, -np.inf, dtype) if dtype.kind == "f" else np.zeros(shape, dtype)


def empty_maps(rows: int, positions: int, dtype: np.dtype) -> np.ndarray:
    """Maps (rows, width) that are zero at every position."""
    if dtype.kind == "f":
        return np.full((rows, positions), -np.inf, dtype)
    return np.zeros((rows, words(positions)), np.uint64)


def gather(vector: np.ndarray, ids: np.ndarray, taps: Taps) -> np.ndarray:
    """The maps (rows * taps, width) that the kernel's columns read from the unit values ``vector``."""
    maps = empty_maps(ids.shape[0] * taps.table.shape[0], taps.positions, vector.dtype)
    if vector.dtype.kind == "f":
        _gather_values(vector, ids, taps.table, maps)
        return maps
    packed = np.zeros((ids.shape[0], words(taps.size)), np.uint64)
    _pack(vector, ids, packed)
    if taps.shifts is not None:
        _shift(packed, taps.shifts, taps.valid, maps)
    else:
        _gather_bits(packed, taps.table, taps.valid, full_map(taps.size, vector.dtype), maps)
    return maps


def scatter(maps: np.ndarray, ids: np.ndarray, taps: Taps, vector: np.ndarray) -> None:
    """Add maps (rows * taps, width) to the unit values that the kernel's columns read."""
    if vector.dtype.kind == "f":
        _scatter_values(maps, ids, taps.table, vector)
        return
    packed = np.zeros((ids.shape[0], words(taps.size)), np.uint64)
    if taps.shifts is not None:
        _unshift(maps, taps.shifts, taps.valid, packed)
    else:
        _scatter_bits(maps, taps.table, packed)
    _unpack(packed, ids, vector)


def gather_flat(vector: np.ndarray, ids: np.ndarray, taps: Taps) -> np.ndarray:
    """The values (rows * taps,) that the kernel's columns read at its one position."""
    columns = np.zeros(ids.shape[0] * taps.table.shape[0], vector.dtype)
    _gather_values(vector, ids, taps.table, columns.reshape(-1, 1))
    return columns


def scatter_flat(columns: np.ndarray, ids: np.ndarray, taps: Taps, vector: np.ndarray) -> None:
    """Add the values (rows * taps,) of one position to the units that the kernel's columns read."""
    _scatter_values(columns.reshape(-1, 1), ids, taps.table, vector)


@compiled
def _gather_values(vector, ids, table, maps):
    taps = table.shape[0]
    for i in range(ids.shape[0]):
        for k in range(taps):
            for p in range(table.shape[1]):
                q = table[k, p]
                maps[i * taps + k, p] = vector[ids[i, q]] if q >= 0 else vector[-1]


@compiled
def _scatter_values(maps, ids, table, vector):
    taps = table.shape[0]
    for i in range(ids.shape[0]):
        for k in range(taps):
            for p in range(table.shape[1]):
                q = table[k, p]
                if q >= 0 and ids[i, q] >= 0:
                    vector[ids[i, q]] = add(vector[ids[i, q]], maps[i * taps + k, p])


@compiled
def _pack(vector, ids, packed):
    for i in range(ids.shape[0]):
        for q in range(ids.shape[1]):
            packed[i, q >> 6] |= np.uint64(vector[ids[i, q]]) << np.uint64(q & 63)


@compiled
def _unpack(packed, ids, vector):
    for i in range(ids.shape[0]):
        for q in range(ids.shape[1]):
            if ids[i, q] >= 0:
                vector[ids[i, q]] |= np.uint8((packed[i, q >> 6] >> np.uint64(q & 63)) & np.uint64(1))


@compiled
def _word_at(row, bit):
    """The 64 bits of a row that start at a bit, which may lie outside it."""
    w, offset = bit >> 6, np.uint64(bit & 63)
    low = row[w] >> offset if 0 <= w < row.size else np.uint64(0)
    if offset and 0 <= w + 1 < row.size:
        low |= row[w + 1] << (np.uint64(64) - offset)
    return low


@compiled
def _shift(packed, shifts, valid, maps):
    taps = shifts.size
    for i in range(packed.shape[0]):
        for k in range(taps):
            for w in range(maps.shape[1]):
                maps[i * taps + k, w] = _word_at(packed[i], w * 64 + shifts[k]) & valid[k, w]


@compiled
def _unshift(maps, shifts, valid, packed):
    taps = shifts.size
    seen = np.empty(maps.shape[1], np.uint64)
    for i in range(packed.shape[0]):
        for k in range(taps):
            for w in range(maps.shape[1]):
                seen[w] = maps[i * taps + k, w] & valid[k, w]
            for w in range(packed.shape[1]):
                packed[i, w] |= _word_at(seen, w * 64 - shifts[k])


@compiled
def _gather_bits(packed, table, valid, full, maps):
    taps = table.shape[0]
    for i in range(packed.shape[0]):
        some, all_set = np.uint64(0), True
        for w in range(full.size):
            some |= packed[i, w]
            all_set &= packed[i, w] == full[w]
        if some == 0:
            continue
        for k in range(taps):
            if all_set:
                maps[i * taps + k] = valid[k]
                continue
            for p in range(table.shape[1]):
                q = table[k, p]
                if q >= 0:
                    bit = (packed[i, q >> 6] >> np.uint64(q & 63)) & np.uint64(1)
                    maps[i * taps + k, p >> 6] |= bit << np.uint64(p & 63)


@compiled
def _scatter_bits(maps, table, packed):
    taps = table.shape[0]
    for i in range(packed.shape[0]):
        for k in range(taps):
            row = maps[i * taps + k]
            for p in range(table.shape[1]):
                q = table[k, p]
                if q >= 0 and not is_zero((row[p >> 6] >> np.uint64(p & 63)) & np.uint64(1)):
                    packed[i, q >> 6] |= np.uint64(1) << np.uint64(q & 63)

"""What the taps of a kernel read at each of its output positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Taps:
    """Which position of its input channel each tap of a kernel reads at each output position.

    ``table`` (taps, positions) holds positions among ``size``, or -1 where the tap sees padding. Where a tap reads at
    one distance everywhere, ``shifts`` holds the distances and a map moves by shifting words; otherwise it is empty.
    ``valid`` (taps, words) has a bit at each position where the tap sees no padding.
    """

    table: np.ndarray
    size: int
    shifts: np.ndarray
    valid: np.ndarray

    @classmethod
    def of(cls, table: np.ndarray, size: int) -> Taps:
        """The taps of a table, with everything that follows from it."""
        table = np.ascontiguousarray(table, dtype=np.int32)
        distance = table - np.arange(table.shape[1], dtype=np.int32)
        seen = table >= 0
        shifts = np.take_along_axis(distance, seen.argmax(1)[:, None], 1)[:, 0]
        uniform = bool(((distance == shifts[:, None]) | ~seen).all())
        return cls(table, size, shifts if uniform else shifts[:0], _as_words(seen))

    @property
    def positions(self) -> int:
        """The number of output positions."""
        return self.table.shape[1]

    @cached_property
    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``runs`` (runs, 3), ``bounds`` (taps + 1,) and ``steps`` (taps,): where each tap reads.

        ``runs[bounds[k] : bounds[k + 1]]`` are those of tap k: the first output position, what it reads, and how many
        positions follow that each read ``steps[k]`` further than the one before.
        """
        runs, steps = [np.empty((0, 3), np.int64)], np.ones(len(self.table), np.int64)
        for k, tap in enumerate(self.table.astype(np.int64)):
            positions = np.flatnonzero(tap >= 0)
            apart, moved = np.diff(positions), np.diff(tap[positions])
            forwards = moved[(apart == 1) & (moved > 0)]
            if len(forwards):
                steps[k] = np.bincount(forwards).argmax()
            breaks = (apart != 1) | (moved != steps[k])
            first = np.flatnonzero(np.append(True, breaks)) if len(positions) else positions
            lengths = np.diff(np.append(first, len(positions)))
            runs.append(np.stack([positions[first], tap[positions[first]], lengths], 1))
        return np.concatenate(runs), np.cumsum([len(each) for each in runs]), steps


def _as_words(flags: np.ndarray) -> np.ndarray:
    """Flags (rows, n) as bits (rows, words), lowest bit first."""
    padded = np.pad(flags, ((0, 0), (0, -flags.shape[1] % 64)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)

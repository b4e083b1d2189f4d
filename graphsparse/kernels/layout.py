"""A kernel as data: where it lies in its parameter, which units its rows and columns are, what its taps read.

Unit ids are integers from 0 on; -1 is no unit (padding, a constant zero) and -2 a constant that is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from graphsparse.kernels.taps import Taps as Taps

NO_UNIT, CONSTANT = -1, -2


class Lines(NamedTuple):
    """A kernel as lines of neighbouring entries of its parameter, ``count`` in each of its groups.

    Line i of group g begins at entry ``offset + g * group_step + i * step`` and is ``length`` long.
    """

    offset: int
    groups: int
    group_step: int
    count: int
    step: int
    length: int


@dataclass(frozen=True)
class View:
    """Where a kernel lies in its parameter: a strided view (groups, rows, channels, *taps) of the flat parameter.

    Channels and taps together are the columns of the kernel.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def table(self) -> tuple[int, int, int]:
        """(groups, rows, columns); in full, since NumPy cannot infer an axis of a kernel without entries."""
        return self.shape[0], self.shape[1], prod(self.shape[2:])

    def of(self, flat: np.ndarray, missing: object = 0) -> np.ndarray:
        """The view (groups, rows, columns) of a flat parameter; shares its memory where the strides allow.

        No element of it is ``missing``, as elements of `Places` may be.
        """
        if self.covers(flat.size):
            return flat.reshape(self.table)
        strides = [s * flat.itemsize for s in self.strides]
        grouped = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides)
        return grouped.reshape(self.table)

    def covers(self, size: int) -> bool:
        """Whether the view is the whole parameter of that size in its own order."""
        return self._ordered and prod(self.shape) == size

    @cached_property
    def _ordered(self) -> bool:
        dense = [prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        ordered = (n == 1 or s == d for n, s, d in zip(self.shape, self.strides, dense, strict=True))
        return self.offset == 0 and all(ordered)

    def lines(self) -> tuple[Lines, bool] | None:
        """The view as lines, and whether a line is a column of the kernel, not a row; None where it has no lines."""
        columns = _one_axis(self.shape[2:], self.strides[2:])
        if columns is None:
            return None
        (n, step), (groups, group_step), (rows, row_step) = columns, *zip(self.shape[:2], self.strides[:2])
        if step == 1 or n == 1:
            return Lines(self.offset, groups, group_step, rows, row_step, n), False
        if row_step == 1 or rows == 1:
            return Lines(self.offset, groups, group_step, n, step, rows), True
        return None

    def entries(self) -> np.ndarray:
        """The index in the flat parameter of each element of the view."""
        axes = np.ogrid[tuple(slice(n) for n in self.shape)]
        index = self.offset + sum(axis * stride for axis, stride in zip(axes, self.strides, strict=True))
        return np.asarray(index).reshape(self.table)


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


@dataclass(frozen=True, eq=False)
class Places:
    """Where a kernel lies in its parameter if no strides can say it.

    ``index`` (groups, rows, columns) is the flat index of each element; -1 is an element that is always zero.
    """

    index: np.ndarray

    @property
    def table(self) -> tuple[int, ...]:
        """(groups, rows, columns)."""
        return self.index.shape

    def of(self, flat: np.ndarray, missing: object = 0) -> np.ndarray:
        """The kernel (groups, rows, columns) of a flat parameter, a copy; ``missing`` where it is always zero."""
        return np.append(flat, np.asarray([missing], flat.dtype))[self.index]

    def covers(self, size: int) -> bool:
        """False: strides would say it of a whole parameter in its own order."""
        return False

    def lines(self) -> None:
        """None: strides would say it of lines."""

    def entries(self) -> np.ndarray:
        """The index in the flat parameter of each element."""
        return self.index


class Rows(NamedTuple):
    """Unit ids (rows, size), and the first id of each row whose ids follow each other; -1 for another row."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray) -> Rows:
        """The rows of an array whose last axis is one."""
        ids = np.ascontiguousarray(ids.reshape(prod(ids.shape[:-1]), ids.shape[-1]), np.int32)
        if not ids.size:
            return cls(ids, np.full(len(ids), -1, np.int64))
        follow = (ids[:, 0] >= 0) & (np.diff(ids, axis=1) == 1).all(1)
        return cls(ids, np.where(follow, ids[:, 0], -1).astype(np.int64))


@dataclass(frozen=True, eq=False)
class Kernel:
    """What the kernel of a parameter joins: the units ``sources`` (groups, channels, size) and ``targets`` (groups, rows,
    positions).

    ``taps`` says which of the ``size`` units of a channel a tap reads at each position. Connections are counted under
    ``parameter`` and swept under ``mask``: the same name, or the key of a mask that this use alone has.
    """

    parameter: str
    view: View | Places
    sources: np.ndarray
    targets: np.ndarray
    taps: Taps
    mask: str

    @cached_property
    def many(self) -> bool:
        """Whether the kernel acts at several positions."""
        return self.taps.positions > 1

    @cached_property
    def inputs(self) -> Rows:
        """The units that columns read: at one position a row per group, with a unit per column; else a row per channel."""
        if self.many:
            return Rows.of(self.sources)
        if self.taps.table.shape == (1, 1) and self.sources.shape[2] == 1:
            return Rows.of(self.sources[:, :, 0])
        read = np.where(self.taps.table[:, 0] < 0, NO_UNIT, self.sources[:, :, self.taps.table[:, 0]])
        return Rows.of(read.reshape(self.view.table[0], self.view.table[2]))

    @cached_property
    def outputs(self) -> Rows:
        """The units that rows feed: at one position a row per group, with a unit per row; else a row per row of the kernel."""
        return Rows.of(self.targets if self.many else self.targets[:, :, 0])

    @cached_property
    def lines(self) -> tuple[Lines, bool]:
        """The kernel as lines: in its parameter, or in an ordered copy where it has none there."""
        groups, rows, columns = self.view.table
        return self.view.lines() or (Lines(0, groups, rows * columns, rows, columns, columns), False)

    @cached_property
    def width(self) -> int:
        """How many words hold a bit for each position."""
        return self.taps.valid.shape[1]

    @cached_property
    def laid(self) -> np.ndarray:
        """The numbers of `Lines` and the width as an array, which a compiled loop takes in a quarter of the time."""
        return np.array([*self.lines[0], self.width], np.int64)

    @cached_property
    def in_place(self) -> bool:
        """Whether the lines lie in the parameter itself."""
        return self.view.lines() is not None

"""How parameters are used: which bundle stands at each index of each of their axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from graphsparse.blocks import KernelBlock, View

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class AxisUse:
    """The bundles (uses, m) that stand at the indices ``at`` (m,) of one axis of a tensor, each use by itself.

    A use may be one group of a kernel, or one line of a grid. Then ``beside`` (uses, k) are its bundles along other axes.
    Where no bundle of a group or line stays, it leaves as a whole and asks for nothing.
    """

    name: str
    axis: int
    at: np.ndarray
    bundles: np.ndarray
    beside: np.ndarray | None = None

    def asking(self, stays: np.ndarray) -> np.ndarray:
        """Which uses are left, (uses,)."""
        if self.beside is None:
            return np.ones(len(self.bundles), bool)
        return stays[self.bundles].any(1) | stays[self.beside].any(1)


@dataclass(frozen=True, eq=False)
class KernelUse:
    """One use of a kernel: the bundles of its ``rows`` (groups, rows) and of its ``columns`` (groups, channels).

    ``leaving_groups``: whether whole groups may leave. ``axes`` say where rows and columns stand in the parameter.
    ``stuck``: bundles that no axis of the parameter shows, so that they stay.
    """

    name: str
    rows: np.ndarray
    columns: np.ndarray
    leaving_groups: bool
    axes: tuple[AxisUse, ...]
    stuck: np.ndarray

    def groups(self, stays: np.ndarray) -> np.ndarray:
        """Which groups stay, (groups,)."""
        if not self.leaving_groups:
            return np.ones(len(self.rows), bool)
        return stays[self.rows].any(1) | stays[self.columns].any(1)

    def box(self, stays: np.ndarray) -> Iterator[np.ndarray]:
        """The bundles that must stay: all groups that stay must have the same rows and the same channels."""
        if len(self.rows) == 1:
            return
        groups = self.groups(stays)
        for side in (self.rows, self.columns):
            wanted = stays[side[groups]].any(0)
            if not wanted.any():
                wanted[:1] = True
            yield side[np.ix_(groups, wanted)]


def sort_out(found: Iterable[AxisUse | np.ndarray], uses: list[AxisUse], stuck: list[np.ndarray]) -> None:
    """Add what is found to the uses, or to the bundles that must stay."""
    for each in found:
        stuck.append(each) if isinstance(each, np.ndarray) else uses.append(each)


def kernel_use(block: KernelBlock, shape: tuple[int, ...], of: np.ndarray) -> KernelUse:
    """A kernel's use of a parameter of this shape; ``of`` gives each unit its bundle."""
    rows, columns = of[block.targets].max(2), of[block.sources].max(2)
    at_rows, at_columns, at_taps = _places(block, shape)
    by_row, by_column, by_tap = (_varying(each, -1) for each in (at_rows, at_columns, at_taps))
    by_column = by_column if (columns >= 0).any() else set()  # a recurrence reads no units at its first step
    by_group = _varying(at_rows, 0)
    most = 2 if len(rows) == 1 else 1
    known = max(len(by_row), len(by_column)) <= most and len(by_group) < 2
    if not known or by_tap & (by_row | by_column | by_group) or by_row & by_column or (at_rows < 0).any():
        return KernelUse(block.parameter, rows, columns, False, (), np.append(rows, columns))
    joint_rows = bool(by_group) and (by_group == by_row or rows.shape[1] == 1 and not by_group & by_column)
    joint_columns = bool(by_group) and not joint_rows and (by_group == by_column or columns.shape[1] == 1)
    axes, stuck = [], []
    for side, other, at, varying, joint in (
        (rows, columns, at_rows, by_row, joint_rows), (columns, rows, at_columns, by_column, joint_columns),
    ):  # fmt: skip
        if joint:
            (axis,) = by_group
            axes.append(AxisUse(block.parameter, axis, at[axis].ravel(), side.reshape(1, -1)))
        elif len(varying) == 2:
            axes += _grid(block.parameter, sorted(varying), at[:, 0], side[0])
        elif varying:
            (axis,) = varying
            beside = other if joint_rows or joint_columns else None
            axes.append(AxisUse(block.parameter, axis, at[axis][0], side, beside))
        elif len(rows) == 1 or not (joint_rows or joint_columns):
            stuck.append(side.ravel())
    leaving = joint_rows or joint_columns
    return KernelUse(
        block.parameter, rows, columns, leaving, tuple(axes), np.concatenate([[], *stuck]).astype(np.int64)
    )


def _grid(name: str, axes: list[int], at: np.ndarray, bundles: np.ndarray) -> list[AxisUse]:
    """Bundles (m,) that stand along two axes at ``at`` (axes, m), as heads and features do: each line asks for itself."""
    places = [np.unique(at[axis], return_inverse=True) for axis in axes]
    table = np.full(tuple(len(found) for found, _ in places), -1)
    table[tuple(inverse for _, inverse in places)] = bundles
    return [
        AxisUse(name, axis, found, lines, np.empty((len(lines), 0), np.int64))
        for axis, (found, _), lines in zip(axes, places, (table.T, table), strict=True)
    ]


def _places(block: KernelBlock, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where in the parameter, axis by axis, rows (groups, rows), columns (groups, channels) and taps stand."""
    (groups, rows), channels = block.targets.shape[:2], block.sources.shape[1]
    view = block.view
    if isinstance(view, View):
        by_group = view.offset + np.arange(groups)[:, None] * view.strides[0]
        flat_rows = by_group + np.arange(rows) * view.strides[1]
        flat_columns = by_group + np.arange(channels) * view.strides[2]
        taps = np.ogrid[tuple(slice(n) for n in view.shape[3:])]
        flat_taps = view.offset + sum(axis * step for axis, step in zip(taps, view.strides[3:], strict=True))
    else:
        every = view.entries().reshape(groups, rows, channels, -1)
        flat_rows, flat_columns, flat_taps = every[:, :, 0, 0], every[:, 0, :, 0], every[0, 0, 0]
    flats = flat_rows, flat_columns, np.asarray(flat_taps).reshape(1, -1)
    rows_at, columns_at, taps_at = (_coordinates(flat, shape) for flat in flats)
    return rows_at, columns_at, taps_at


def _coordinates(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The index of each entry along each axis, (axes, *shape of flat); all of them -1 where an entry lies nowhere."""
    if (flat < 0).any():
        return np.full((len(shape), *flat.shape), -1)
    return np.stack(np.unravel_index(flat, shape))


def _varying(at: np.ndarray, axis: int) -> set[int]:
    """The axes of the parameter whose index changes along an axis of the table."""
    table = np.moveaxis(at, axis if axis < 0 else axis + 1, -1)
    return set(np.flatnonzero((table != table[..., :1]).reshape(len(at), -1).any(1)).tolist())


def entries_use(
    name: str, shape: tuple[int, ...], entries: np.ndarray, bundles: np.ndarray
) -> Iterator[AxisUse | np.ndarray]:
    """The uses of a tensor whose ``entries`` (flat) meet these ``bundles`` one by one: a bias, a scale, a buffer.

    Where no axes of the tensor tell the bundles apart, the bundles themselves, which must stay.
    """
    table = np.full(int(np.prod(shape)), -1)
    table[entries] = bundles
    whole = table.reshape(shape)
    axes = varying_axes(whole)
    if len(axes) > 2 or not (table[entries] == bundles).all():
        yield bundles
    elif len(axes) == 2:
        yield from _grid(name, axes, np.stack(np.unravel_index(entries, shape)), bundles)
    elif axes:  # without any it is one bundle, which leaves or stays as a whole with the value that it belongs to
        (axis,) = axes
        found = np.moveaxis(whole, axis, 0).reshape(shape[axis], -1).max(1)
        at = np.flatnonzero(found >= 0)
        yield AxisUse(name, axis, at, found[at][None])


def varying_axes(table: np.ndarray) -> list[int]:
    """The axes along which the bundles of a table differ; -1 is none and differs from nothing."""
    found = []
    for axis in range(table.ndim):
        if table.shape[axis] > 1:
            highest = table.max(axis, keepdims=True)
            if ((table != highest) & (table >= 0)).any():
                found.append(axis)
    return found

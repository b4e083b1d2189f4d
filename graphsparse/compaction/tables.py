"""Values as tables of bundles, of which what stays must be a box.

A view of channels as heads and features, or as groups and members, is a table of bundles with two axes. If some features
of a head leave, the same features of every head must leave: what is left has to be a table again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from graphsparse.capture.draft import as_ids
from graphsparse.capture.mechanics.routed import Routed
from graphsparse.capture.mechanics.waiting import Scores
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Units
from graphsparse.compaction.uses import varying_axes


@dataclass(frozen=True, eq=False)
class Table:
    """The bundles of a value, along those of its axes along which they differ; ``place`` is the module that makes it."""

    bundles: np.ndarray
    sizes: tuple[int, ...]
    place: str

    def box(self, stays: np.ndarray) -> np.ndarray:
        """The bundles that must stay so that what stays is a box, and is not empty."""
        wanted = self._lines(stays)
        if not stays[self.bundles[self.bundles >= 0]].any():
            return self.bundles[self.bundles >= 0][:1]
        return self.bundles[np.ix_(*wanted)] if wanted else self.bundles.reshape(1)

    def left(self, stays: np.ndarray) -> tuple[int, ...]:
        """How many indices of each axis stay."""
        return tuple(int(line.sum()) for line in self._lines(stays))

    def _lines(self, stays: np.ndarray) -> list[np.ndarray]:
        """Which indices of each axis have a bundle that stays."""
        alive = stays[self.bundles] & (self.bundles >= 0)
        return [alive.any(others(axis, alive.ndim)) for axis in range(alive.ndim)]


def others(axis: int, count: int) -> tuple[int, ...]:
    """All axes but one."""
    return tuple(each for each in range(count) if each != axis)


def ids_of(value: Any) -> torch.Tensor | None:
    """The ids of a value that has units; None of a product that waits, whose ids are not made for this."""
    if isinstance(value, Scores) or not isinstance(value, Units):
        return None
    ids = value.experts if isinstance(value, Routed) else value.ids
    return ids if ids.numel() else None


def bundles_of(of: np.ndarray, ids: torch.Tensor) -> np.ndarray:
    """The bundle of each element, -1 where there is no unit. An axis along which ids repeat has one index."""
    (small,), _ = collapse(ids)
    return of[as_ids(small)]


def all_of(of: np.ndarray, ids: torch.Tensor) -> np.ndarray:
    """All bundles of a value."""
    found = np.unique(bundles_of(of, ids))
    return found[found >= 0]


def table_of(of: np.ndarray, ids: torch.Tensor, place: str) -> Table | None:
    """The table of a value; None where a whole row of it holds no unit: then nothing of it may leave."""
    table = bundles_of(of, ids)
    axes = varying_axes(table)
    for axis in reversed(range(table.ndim)):
        if axis not in axes:
            table = table.max(axis)
    empty = any((table < 0).all(others(axis, table.ndim)).any() for axis in range(table.ndim))
    return None if empty else Table(table, tuple(table.shape), place)

"""The cut: which bundles leave, once everything that is asked for is met."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from graphsparse.compaction.bundles import connected
from graphsparse.compaction.tables import Table
from graphsparse.compaction.uses import AxisUse, KernelUse, Shapes

Axis = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Ties:
    """All that restricts a cut: tables of values, kernels, what stands along the axes of tensors, and equal widths.

    ``equal``: groups of axes; those of one group must be equally long. ``longer``: pairs; the first must be longer.
    """

    tables: tuple[Table, ...]
    kernels: tuple[KernelUse, ...]
    uses: tuple[AxisUse, ...]
    shapes: Shapes
    equal: tuple[tuple[Axis, ...], ...] = ()
    longer: tuple[tuple[Axis, Axis], ...] = ()


@dataclass(eq=False)
class Cut:
    """Which bundles stay. ``reasons`` has for each dead bundle that stays the first reason that was found.

    ``stays`` has one place more than there are bundles: what is no bundle stays.
    """

    ties: Ties
    stays: np.ndarray
    reasons: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, ties: Ties, alive: np.ndarray) -> Cut:
        """All that is not alive leaves, before anything is asked for."""
        return cls(ties, np.append(alive, True))

    def copy(self) -> Cut:
        """A cut of its own."""
        return Cut(self.ties, self.stays.copy(), dict(self.reasons))

    def keep(self, bundles: Iterable[int] | np.ndarray, reason: str) -> bool:
        """Let bundles stay. Returns whether any of them was to leave."""
        wanted = np.unique(np.asarray(bundles, np.int64))
        new = wanted[~self.stays[wanted]]
        self.stays[new] = True
        self.reasons.update(dict.fromkeys(new.tolist(), reason))
        return bool(len(new))

    def settle(self) -> Cut:
        """Let more bundles stay, until all ties hold."""
        while self._once():
            pass
        return self

    def _once(self) -> bool:
        changed = False
        for table in self.ties.tables:
            reason = "tied" if self.stays[table.bundles].any() else "last"
            changed |= self.keep(table.box(self.stays), reason)
        for kernel in self.ties.kernels:
            for bundles in kernel.box(self.stays):
                changed |= self.keep(bundles, "tied")
        flags = self.flags()
        for use in self.ties.uses:
            kept = flags[use.name, use.axis]
            if not kept.any():
                changed |= self.keep(use.bundles[:, :1], "last")
            asking = use.asking(self.stays)
            changed |= self.keep(use.bundles[asking][:, kept[use.at]], "tied")
        return changed or self._level()

    def _level(self) -> bool:
        """Keep dead units where an axis is shorter than its equals. Returns whether any was to leave."""
        flags, changed = self.flags(), False

        def stay(axis: Axis) -> np.ndarray:
            return flags.get(axis, np.ones(self.ties.shapes[axis[0]][axis[1]], bool))

        for axes in self.ties.equal:
            kept = {axis: stay(axis) for axis in axes}
            least = [1 + int(stay(other).sum()) for axis, other in self.ties.longer if axis in axes]
            longest = max(*least, *(int(each.sum()) for each in kept.values()), 0)
            for use in self.ties.uses:
                if (use.name, use.axis) in axes:
                    here = kept[use.name, use.axis]
                    left = np.flatnonzero(~here[use.at])[: longest - int(here.sum())]
                    changed |= self.keep(use.bundles[:, left], "module")
        return changed

    def flags(self) -> Mapping[Axis, np.ndarray]:
        """Which indices of each axis stay, where an axis is used at all."""
        kept: dict[Axis, np.ndarray] = {}
        covered: dict[Axis, np.ndarray] = {}
        for use in self.ties.uses:
            key = use.name, use.axis
            if key not in kept:
                kept[key], covered[key] = (np.zeros(self.ties.shapes[use.name][use.axis], bool) for _ in range(2))
            covered[key][use.at] = True
            asking = use.asking(self.stays)
            kept[key][use.at] |= self.stays[use.bundles[asking]].any(0)
        return {key: kept[key] | ~covered[key] for key in kept}

    def leaving(self) -> np.ndarray:
        """The bundles that leave."""
        return np.flatnonzero(~self.stays[:-1])

    def round_to(self, multiple: int) -> Cut:
        """Keep dead units until the rows and columns of every kernel are a multiple, or all of them stay."""
        for use in (use for kernel in self.ties.kernels for use in kernel.axes if multiple > 1):
            kept = self._width(use)
            self._widen(use, kept + -kept % multiple, "round_to")
        return self

    def _width(self, use: AxisUse) -> int:
        return int(self.flags()[use.name, use.axis].sum())

    def _widen(self, use: AxisUse, width: int, reason: str) -> None:
        """Keep dead units of an axis until it is so wide, or all of it stays."""
        while self._width(use) < width:
            left = np.flatnonzero(~self.flags()[use.name, use.axis][use.at])
            if not len(left):
                return
            self.keep(use.bundles[:, left[:1]], reason)
            self.settle()

    def alike(self) -> Cut:
        """Keep dead units until tensors whose names differ by numbers alone are all as wide as the widest."""
        axes: dict[tuple[str, int, int], list[AxisUse]] = {}
        for kernel in self.ties.kernels:
            for use in kernel.axes:
                pattern = re.sub(r"(?<![^.])\d+(?=\.)", "#", use.name)
                axes.setdefault((pattern, use.axis, self.ties.shapes[use.name][use.axis]), []).append(use)
        before = -1
        while before != self.stays.sum():
            before = self.stays.sum()
            for uses in axes.values():
                width = max(map(self._width, uses))
                for use in uses:
                    self._widen(use, width, "alike")
        return self

    def parts(self) -> list[np.ndarray]:
        """The bundles that leave, in parts that share no axis: each can leave without the others."""
        leaving = self.leaving()
        shared = [found[~self.stays[found]] for found in (np.unique(use.bundles) for use in self.ties.uses)]
        ties = [(np.broadcast_to(found[:1], found[1:].shape), found[1:]) for found in shared]
        labels = connected(len(self.stays), ties)[leaving]
        order = np.argsort(labels, kind="stable")
        parts = np.split(leaving[order], np.flatnonzero(np.diff(labels[order])) + 1)
        return [part for part in parts if len(part)]

"""The graph while it is being captured: layers of units with their blocks, numbered as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
import torch

from graphsparse.blocks import Gate, KernelBlock, Lift, Places, Scale, View, Wiring
from graphsparse.capture.units import CONSTANT, NOTHING, canonical, collapse, distinct_sets, unique_rows
from graphsparse.capture.values import NEVER, Units, Weight
from graphsparse.errors import SIZES, CaptureError
from graphsparse.kernels.layout import Taps


@dataclass
class LayerDraft:
    """Units ``start`` to ``stop - 1`` in capture's numbering (from 1 on)."""

    name: str
    operation: str
    start: int
    stop: int
    blocks: list[Any] = field(default_factory=list[Any])
    stages: list[Any] = field(default_factory=list[Any])
    joins: bool = False


@dataclass(frozen=True, eq=False)
class KernelPart:
    """A parameter that a kernel reads, where in it the kernel lies, and the mask that holds there."""

    parameter: str
    view: View | Places
    mask: str

    def between(self, sources: np.ndarray, targets: np.ndarray, taps: Taps) -> KernelBlock:
        """The kernel between units: ids of the graph, (groups, channels, size) and (groups, rows, positions)."""
        return KernelBlock(self.parameter, self.view, sources, targets, taps, self.mask)


def as_ids(ids: torch.Tensor) -> np.ndarray:
    """Capture's ids as the graph's: units from 0 on, -1 no unit, -2 a constant."""
    return np.ascontiguousarray((ids - 1).numpy())


class Draft:
    """Collects layers; every method that makes units returns their ids in capture's numbering."""

    def __init__(
        self, resolution: str, norm_statistics: bool, uses: Mapping[str, str] | None = None, room: float = inf
    ):
        self.resolution, self.norm_statistics = resolution, norm_statistics
        self.uses = uses or {}  # the parameter of each use that has a mask of its own, by the mask's key
        self.room = room  # how many units and links there may still be
        self.layers: list[LayerDraft] = []
        self.sources: list[torch.Tensor] = []
        self.kernels: set[str] = set()
        self.modulators: set[str] = set()
        self.scales: set[str] = set()
        self.read: set[str] = set()
        self.tables: dict[str, list[str]] = {}  # the parameters that each input indexes
        self.rows_of: list[tuple[str, torch.Tensor]] = []  # the rows of those as sources, and where each table is read
        self.has_norm_statistics = False
        self.place = ("", "")  # module path and operation of the call that is being lowered
        self._next = 1
        self._joined: dict[tuple[Any, ...], Units] = {}

    @property
    def mark(self) -> int:
        """The id that the next unit will have: ids from here on are fresh."""
        return self._next

    def parameter_of(self, weight: str) -> str:
        """The parameter that a weight is counted under: another name than its own where the use has a mask of its own."""
        return self.uses.get(weight, weight)

    def take(self, count: int) -> None:
        """Count units, or links between them, that are about to be made.

        Raises:
            CaptureError: a program from a file asks for more than the file bears out.
        """
        self.fits(count)
        self.room -= count

    def fits(self, count: int) -> None:
        """Raises as `take`, for what is only held for a moment."""
        if count > self.room:
            raise CaptureError(
                "the graph of a program must be of a size that its file bears out", place=" ".join(filter(None, self.place)),
                received=f"{count - self.room:,.0f} units and links more than that", way_out=SIZES,
            )  # fmt: skip

    @property
    def unrolled(self) -> bool:
        """Whether units are elements, not channels."""
        return self.resolution == "unrolled"

    def layer(
        self, count: int, name: str | None = None, operation: str | None = None
    ) -> tuple[LayerDraft, torch.Tensor]:
        """A new layer of ``count`` units and their ids (count,)."""
        self.take(count)
        path, called = self.place
        draft = LayerDraft(name or path or called, operation or called, self._next, self._next + count)
        self._next = draft.stop
        self.layers.append(draft)
        return draft, torch.arange(draft.start, draft.stop)

    def source(self, name: str, shape: torch.Size, batch_axis: int | None) -> Units:
        """An input: one unit per element, the batch axis repeated."""
        sizes = [1 if axis == batch_axis else n for axis, n in enumerate(shape)]
        _, ids = self.layer(int(np.prod(sizes)), name, "input")
        self.sources.append(ids)
        return Units(ids.reshape(sizes).expand(shape))

    def kernel(
        self, weight: Weight, grouped: torch.Tensor, sources: torch.Tensor, taps: Taps, bias: Weight | None = None
    ) -> torch.Tensor:
        """A layer of the units that a kernel feeds: ids (groups, rows, positions).

        ``grouped`` is the weight's layout as (groups, rows, *columns); ``sources`` ids (groups, channels, size).
        """
        groups, rows = grouped.shape[:2]
        self.take(int(taps.table.size))
        draft, ids = self.layer(groups * rows * taps.positions)
        ids = ids.reshape(groups, rows, taps.positions)
        from_ids, to_ids = as_ids(sources), as_ids(ids)
        draft.blocks += [part.between(from_ids, to_ids, taps) for part in self.parts(weight, grouped)]
        if bias is not None:
            entries = bias.index.reshape(groups, rows, 1).expand(ids.shape)
            draft.stages += self._lifts(bias, ids.reshape(-1), entries.reshape(-1))
        return ids

    def parts(self, weight: Weight, grouped: torch.Tensor) -> list[KernelPart]:
        """The parameters that a kernel is made of, which have connections from now on; ``grouped`` as for `kernel`."""
        parts = [
            KernelPart(self.parameter_of(name), _place_of(layout), name) for name, layout in weight.stored(grouped)
        ]
        self.kernels |= {part.parameter for part in parts}
        return parts

    def entries(self, bias: Weight, wanted: torch.Tensor) -> list[tuple[torch.Tensor, str, np.ndarray]]:
        """The parameters that a bias is made of: where among the ``wanted`` flat entries, its mask's key, its own entries."""
        found = []
        for name, index in bias.stored(wanted):
            there = index != NEVER
            self.modulators.add(self.parameter_of(name))
            found.append((there, name, index[there].numpy()))
        return found

    def _lifts(self, bias: Weight, units: torch.Tensor, entries: torch.Tensor) -> list[Lift]:
        """What the entries of a bias do to units, one lift for each parameter that it is made of."""
        return [Lift(as_ids(units[there]), name, index) for there, name, index in self.entries(bias, entries)]

    def union(self, rows: torch.Tensor) -> torch.Tensor:
        """The unit that depends on each row (rows, k) of ids: the row's own where it is one, else one per distinct set."""
        self.fits(rows.numel())
        sets = distinct_sets(rows)
        result = sets.members[:, 0].clone()  # sorted, largest first: 0 where the set is empty
        several = sets.members[:, 1] != 0 if sets.members.size(1) > 1 else torch.zeros(len(result), dtype=torch.bool)
        fresh = several | (sets.constant & (result != 0))
        result[sets.constant & (result == 0)] = CONSTANT
        if bool(fresh.any()):
            result[fresh] = self._wire(sets.members[fresh], sets.constant[fresh])
        return result[sets.index]

    def _wire(self, members: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
        """A layer of one unit per row of members, lifted where the row holds a constant too."""
        self.take(members.numel())
        draft, ids = self.layer(len(members))
        use = members != 0
        targets = ids[:, None].expand(members.shape)
        draft.blocks.append(Wiring(as_ids(members[use]), as_ids(targets[use])))
        if bool(constant.any()):
            draft.stages.append(Lift(as_ids(ids[constant])))
        return ids

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """The unit that depends on all of the last axis of ids, for each index of the others."""
        (small,), _ = collapse(ids)
        result = self.union(small.reshape(-1, small.size(-1))).reshape(small.shape[:-1])
        return result.expand(ids.shape[:-1])

    def join(self, ids: torch.Tensor) -> torch.Tensor:
        """One unit per row (rows, positions) of ids, for an operation that shares its weights over positions."""
        ids = canonical(ids)
        (small,), _ = collapse(ids)
        if small.size(1) == 1:
            return small.expand(len(ids), 1)
        key = (small.shape, small.contiguous().numpy().tobytes())
        if key not in self._joined:
            before = len(self.layers)
            joined = self.union(small)
            for draft in self.layers[before:]:
                draft.joins = True
            self._joined[key] = Units(joined[:, None])
        return self._joined[key].ids.expand(len(ids), 1)

    def copied(
        self, value: Units, parts: torch.Tensor | None = None
    ) -> tuple[LayerDraft, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A layer of copies of a value's units, for a stage; what need not be a copy is folded away when all is known.

        ``parts`` (broadcastable) tells apart elements that share a unit but are staged differently; then every distinct
        pair of unit and part has a copy. Returns the layer, the copies' ids in the value's broadcast shape, and for each
        real element that does not only repeat another along an axis its copy and its part.
        """
        (ids, part), expand = collapse(value.ids, torch.zeros((), dtype=torch.int64) if parts is None else parts)
        flat, part = ids.reshape(-1), part.reshape(-1)
        real = flat > 0
        whole = bool(real.all())
        units, part = (flat, part) if whole else (flat[real], part[real])
        rising = bool((units[1:] > units[:-1]).all())
        once = None if rising else unique_rows(torch.stack([units, part], 1))
        originals = units if once is None else units[once[0]]
        draft, fresh = self.layer(len(originals))
        draft.blocks.append(Wiring(as_ids(originals), as_ids(fresh)))
        copies = fresh if once is None else fresh[once[1]]
        result = copies if whole else flat.masked_scatter(real, copies)
        return draft, expand(result.reshape(ids.shape)), copies, part

    def lift(self, value: Units, by: Weight | None = None, where: torch.Tensor | None = None) -> Units:
        """The value plus something that is not zero: zeros become constants.

        ``by`` is a `Weight` of broadcastable shape; ``where`` a bool tensor of the elements that are lifted.
        """
        parts = by.index if by is not None else where.long() if where is not None else None
        if parts is not None and not self.unrolled and _splits(value.ids, parts):  # a table of positions, which are one
            by = where = parts = None
        draft, ids, units, part = self.copied(value, parts)
        if where is not None:
            units, part = units[part != 0], part[part != 0]
        draft.stages += [Lift(as_ids(units))] if by is None else self._lifts(by, units, part)
        (small,), _ = collapse(ids)
        if not bool((small == NOTHING).any()):
            return Units(ids)
        lifted = torch.ones((), dtype=torch.bool) if parts is None else where if where is not None else parts != NEVER
        return Units(torch.where((ids == NOTHING) & lifted, CONSTANT, ids))

    def scale(self, value: Units, by: Weight) -> Units:
        """The value times entries of a parameter, which a mask can cut."""
        draft, ids, units, part = self.copied(value, by.index)
        for name, index in by.stored(part):
            there = index != NEVER
            self.modulators.add(self.parameter_of(name))
            self.scales.add(self.parameter_of(name))
            draft.stages.append(Scale(as_ids(units[there]), name, index[there].numpy()))
        return Units(ids)

    def gate(self, lefts: torch.Tensor, rights: torch.Tensor, targets: torch.Tensor, count: int) -> torch.Tensor:
        """A layer of ``count`` sums of products; entry e adds lefts[e] * rights[e] to the unit targets[e]."""
        self.take(len(lefts))
        draft, ids = self.layer(count)
        order = targets.argsort(stable=True)
        draft.blocks.append(Gate(as_ids(lefts[order]), as_ids(rights[order]), as_ids(ids[targets[order]])))
        return ids


def _place_of(grouped: torch.Tensor) -> View | Places:
    if grouped.is_meta:
        return View(int(grouped.storage_offset()), tuple(grouped.shape), tuple(grouped.stride()))
    return Places(np.ascontiguousarray(grouped.flatten(2).numpy()))


def _splits(ids: torch.Tensor, parts: torch.Tensor) -> bool:
    """Whether elements of one unit go with different parts."""
    (small, parts), _ = collapse(ids, parts)
    small, parts = small.reshape(-1), parts.reshape(-1)
    return not _one_part_each(small[small > 0], parts[small > 0])


def _one_part_each(units: torch.Tensor, part: torch.Tensor) -> bool:
    """Whether every element of a unit goes with the same part."""
    if len(units) == 0:
        return True
    units = units - units.min()
    first = torch.zeros(int(units.max()) + 1, dtype=part.dtype).scatter_(0, units, part)
    return bool((first[units] == part).all())

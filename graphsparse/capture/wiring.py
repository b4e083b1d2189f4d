"""Layers of units that are made of others: of sets, of products, lifted or scaled copies, and what a kernel feeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from graphsparse.blocks import Gate, KernelBlock, Lift, Places, Scale, View, Wiring
from graphsparse.capture.draft import Draft, LayerDraft, as_ids
from graphsparse.capture.units import CONSTANT, NOTHING, canonical, collapse, distinct_sets, unique_rows
from graphsparse.capture.values import NEVER, Units, Weight
from graphsparse.kernels.layout import Taps
from graphsparse.kernels.rows import wires


def united(draft: Draft, ids: torch.Tensor) -> torch.Tensor:
    """The unit that depends on all of the last axis of ids, for each index of the others.

    It is the unit itself where there is one, else a new one for each distinct set.
    """
    (small,), _ = collapse(ids)
    rows = small.reshape(-1, small.size(-1))
    draft.fits(rows.numel())
    sets = distinct_sets(rows)
    result = sets.members[:, 0]  # sorted, largest first: 0 where the set is empty
    several = sets.members[:, 1] != 0 if sets.members.size(1) > 1 else torch.zeros(len(result), dtype=torch.bool)
    fresh = several | (sets.constant & (result != 0))
    if len(fresh) and bool(fresh.all()):
        result = _wired(draft, sets.members, sets.constant)
    else:
        result = torch.where(sets.constant & (result == 0), CONSTANT, result)
        if bool(fresh.any()):
            result[fresh] = _wired(draft, sets.members[fresh], sets.constant[fresh])
    return result[sets.index].reshape(small.shape[:-1]).expand(ids.shape[:-1])


def _wired(draft: Draft, members: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
    """A layer of one unit per row of members, lifted where the row holds a constant too."""
    draft.take(members.numel())
    layer, ids = draft.layer(len(members))
    layer.blocks.append(Wiring(*wires(members.contiguous().numpy(), layer.start)))
    if bool(constant.any()):
        layer.stages.append(Lift(as_ids(ids[constant])))
    return ids


def join(draft: Draft, ids: torch.Tensor) -> torch.Tensor:
    """One unit per row (rows, positions) of ids, for an operation that shares its weights over positions."""
    ids = canonical(ids)
    (small,), _ = collapse(ids)
    if small.size(1) == 1:
        return small.expand(len(ids), 1)
    key = (small.shape, small.contiguous().numpy().tobytes())
    if key not in draft.joined:
        before = len(draft.layers)
        draft.joined[key] = Units(united(draft, small)[:, None])
        for layer in draft.layers[before:]:
            layer.joins = True
    return draft.joined[key].ids.expand(len(ids), 1)


def gate(draft: Draft, lefts: torch.Tensor, rights: torch.Tensor, targets: torch.Tensor, count: int) -> torch.Tensor:
    """A layer of ``count`` sums of products; entry e adds lefts[e] * rights[e] to the unit targets[e]."""
    draft.take(len(lefts))
    layer, ids = draft.layer(count)
    if not bool((targets[1:] >= targets[:-1]).all()):
        order = targets.argsort(stable=True)
        lefts, rights, targets = lefts[order], rights[order], targets[order]
    layer.blocks.append(Gate(as_ids(lefts), as_ids(rights), as_ids(ids[targets])))
    return ids


def say_matrices(draft: Draft, since: int, products: torch.Tensor) -> None:
    """Note of the layers made ``since`` which product of matrices each unit of ids (..., rows, columns) belongs to."""
    lead = products.shape[:-2]
    which = torch.arange(lead.numel(), dtype=torch.int32).reshape(*lead, 1, 1).expand(products.shape).reshape(-1)
    flat = products.reshape(-1)
    for made in draft.layers[since:]:
        if any(isinstance(block, Gate) for block in made.blocks):
            here = (flat >= made.start) & (flat < made.stop)
            made.matrices = np.full(made.stop - made.start, -1, np.int32)
            made.matrices[(flat[here] - made.start).numpy()] = which[here].numpy()


def entries(draft: Draft, weight: Weight, wanted: torch.Tensor) -> list[tuple[torch.Tensor, str, np.ndarray]]:
    """For each parameter of a bias or scale: which ``wanted`` entries are its own, its mask's key, its entries."""
    found = []
    for name, index in weight.stored(wanted):
        there = index != NEVER
        draft.usage.modulators.add(draft.usage.parameter_of(name))
        found.append((there, name, index[there].numpy()))
    return found


def lifts(draft: Draft, bias: Weight, units: torch.Tensor, wanted: torch.Tensor) -> list[Lift]:
    """What the entries of a bias do to units, one lift for each parameter that it is made of."""
    return [Lift(as_ids(units[there]), name, index) for there, name, index in entries(draft, bias, wanted)]


def lift(draft: Draft, value: Units, by: Weight | None = None, where: torch.Tensor | None = None) -> Units:
    """The value plus something that is not zero, as `graphsparse.capture.call.Call.lift`."""
    parts = by.index if by is not None else where.long() if where is not None else None
    if parts is not None and not draft.unrolled and _splits(value.ids, parts):  # a table of positions, which are one
        by = where = parts = None
    layer, ids, units, part = _copied(draft, value, parts)
    if where is not None:
        units, part = units[part != 0], part[part != 0]
    layer.stages += [Lift(as_ids(units))] if by is None else lifts(draft, by, units, part)
    (small,), _ = collapse(ids)
    if not bool((small == NOTHING).any()):
        return Units(ids)
    lifted = torch.ones((), dtype=torch.bool) if parts is None else where if where is not None else parts != NEVER
    return Units(torch.where((ids == NOTHING) & lifted, CONSTANT, ids))


def scale(draft: Draft, value: Units, by: Weight) -> Units:
    """The value times entries of a parameter, which a mask can cut."""
    layer, ids, units, part = _copied(draft, value, by.index)
    for there, name, index in entries(draft, by, part):
        draft.usage.scales.add(draft.usage.parameter_of(name))
        layer.stages.append(Scale(as_ids(units[there]), name, index))
    return Units(ids)


def _copied(
    draft: Draft, value: Units, parts: torch.Tensor | None = None
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
    layer, fresh = draft.layer(len(originals))
    layer.blocks.append(Wiring(as_ids(originals), as_ids(fresh)))
    copies = fresh if once is None else fresh[once[1]]
    result = copies if whole else flat.masked_scatter(real, copies)
    return layer, expand(result.reshape(ids.shape)), copies, part


def _splits(ids: torch.Tensor, parts: torch.Tensor) -> bool:
    """Whether elements of one unit go with different parts."""
    (small, parts), _ = collapse(ids, parts)
    real = small > 0
    units, part = small[real], parts[real]
    if not len(units):
        return False
    units = units - units.min()
    one_each = torch.zeros(int(units.max()) + 1, dtype=part.dtype).scatter_(0, units, part)
    return bool((one_each[units] != part).any())


@dataclass(frozen=True, eq=False)
class KernelPart:
    """A parameter that a kernel reads, where in it the kernel lies, and the mask that holds there."""

    parameter: str
    view: View | Places
    mask: str

    def between(self, sources: np.ndarray, targets: np.ndarray, taps: Taps) -> KernelBlock:
        """The kernel between units: ids of the graph, (groups, channels, size) and (groups, rows, positions)."""
        return KernelBlock(self.parameter, self.view, sources, targets, taps, self.mask)


def feed(
    draft: Draft, weight: Weight, grouped: torch.Tensor, sources: torch.Tensor, taps: Taps, bias: Weight | None = None
) -> torch.Tensor:
    """A layer of the units that a kernel feeds: ids (groups, rows, positions).

    ``grouped`` is the weight's layout as (groups, rows, *columns); ``sources`` ids (groups, channels, size).
    """
    groups, rows = grouped.shape[:2]
    draft.take(int(taps.table.size))
    layer, ids = draft.layer(groups * rows * taps.positions)
    ids = ids.reshape(groups, rows, taps.positions)
    from_ids, to_ids = as_ids(sources), as_ids(ids)
    layer.blocks += [part.between(from_ids, to_ids, taps) for part in parts(draft, weight, grouped)]
    if bias is not None:
        entries = bias.index.reshape(groups, rows, 1).expand(ids.shape)
        layer.stages += lifts(draft, bias, ids.reshape(-1), entries.reshape(-1))
    return ids


def parts(draft: Draft, weight: Weight, grouped: torch.Tensor) -> list[KernelPart]:
    """The parameters that a kernel is made of, which have connections from now on; ``grouped`` as for `feed`."""
    usage = draft.usage
    found = [KernelPart(usage.parameter_of(name), _view_of(layout), name) for name, layout in weight.stored(grouped)]
    usage.kernels |= {part.parameter for part in found}
    return found


def _view_of(grouped: torch.Tensor) -> View | Places:
    if grouped.is_meta:
        return View(int(grouped.storage_offset()), tuple(grouped.shape), tuple(grouped.stride()))
    return Places(np.ascontiguousarray(grouped.flatten(2).numpy()))


def dense(draft: Draft, sources: torch.Tensor, weight: Weight, kernel: torch.Tensor, bias: Any = None) -> torch.Tensor:
    """The units (groups, outputs, positions) of a kernel (groups, outputs, inputs) over (groups, inputs, positions)."""
    if not draft.unrolled:  # the positions are one
        groups, inputs, _ = sources.shape
        sources = join(draft, sources.flatten(0, 1)).reshape(groups, inputs, 1)
    positions = sources.size(2)
    return feed(draft, weight, kernel, sources, Taps.of(np.arange(positions)[None], positions), bias)


def grouped(layout: torch.Tensor) -> torch.Tensor:
    """A layout (..., outputs, inputs) with its leading axes as one; by entries where strides cannot say it."""
    sizes = (-1, *layout.shape[-2:])
    try:
        return layout.view(sizes) if layout.dim() > 2 else layout.unsqueeze(0)
    except RuntimeError:
        return (Weight("", layout).index if layout.is_meta else layout).reshape(sizes)

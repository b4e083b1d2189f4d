"""What happens to units on the way: biases and functions lift them, entries of a parameter scale them."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.blocks import Lift, Scale, Wiring
from graphsparse.capture.draft import Draft, LayerDraft, as_ids
from graphsparse.capture.units import CONSTANT, NOTHING, collapse, unique_rows
from graphsparse.capture.values import NEVER, Units, Weight

Entries = list[tuple[torch.Tensor, str, np.ndarray]]
"""The parameters that a bias or scale is made of: which of the wanted entries are its own, its mask's key, and which
entries of the parameter they are."""


def entries(draft: Draft, weight: Weight, wanted: torch.Tensor) -> Entries:
    """Where among the ``wanted`` flat entries of a bias or scale each of its parameters stands."""
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
    """The value plus something that is not zero: zeros become constants.

    ``by`` is a `Weight` of broadcastable shape; ``where`` a bool tensor of the elements that are lifted.
    """
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
    small, parts = small.reshape(-1), parts.reshape(-1)
    return not _one_part_each(small[small > 0], parts[small > 0])


def _one_part_each(units: torch.Tensor, part: torch.Tensor) -> bool:
    """Whether every element of a unit goes with the same part."""
    if len(units) == 0:
        return True
    units = units - units.min()
    first = torch.zeros(int(units.max()) + 1, dtype=part.dtype).scatter_(0, units, part)
    return bool((first[units] == part).all())

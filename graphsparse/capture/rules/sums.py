"""Sums of values: signal if any operand is, and a constant lifts zero."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.values import Known, Units, Weight

aten = torch.ops.aten


def add(call: Call, left, right, *, alpha: float = 1):
    """The sum or difference of two values of broadcastable shapes."""
    if alpha == 0:
        return left
    if isinstance(left, Units) and isinstance(right, Units):
        return call.union([left, right])
    units, other = (left, right) if isinstance(left, Units) else (right, left)
    if isinstance(other, Weight):
        return call.draft.lift(units, by=None if other.transformed else other)
    if isinstance(other, Known):
        shape = torch.broadcast_shapes(units.shape, other.shape)
        return call.draft.lift(Units(units.ids.expand(shape), units.exclusive), where=call.ids(other) != 0)
    return units if other == 0 else call.draft.lift(units)


def either(call: Call, left, right):
    """The maximum or minimum of two values: an operand may be chosen, as in a sum."""
    return add(call, left, right)


def subtract_from(call: Call, left, right, alpha: float = 1):
    """right - alpha * left."""
    return add(call, left, right)


RULES = {
    aten.add.Tensor: add,
    aten.sub.Tensor: add,
    aten.rsub.Tensor: subtract_from,
    aten.maximum.default: either,
    aten.minimum.default: either,
}

"""Sums and products of two values of broadcastable shapes."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import CONSTANT, NOTHING, collapse, unique_rows
from graphsparse.capture.values import Known, Units, Value, Weight
from graphsparse.capture.wiring import gate, scale


def add(call: Call, left: Any, right: Any, *, alpha: float = 1) -> Any:
    """The sum or difference of two values of broadcastable shapes."""
    if alpha == 0:
        return left
    if isinstance(left, Units) and isinstance(right, Units):
        return call.union([left, right])
    units, other = (left, right) if isinstance(left, Units) else (right, left)
    if not isinstance(other, (Weight, Known)):
        return units if other == 0 else call.lift(units)
    shape = torch.broadcast_shapes(units.shape, other.shape)
    units = Units(units.ids.expand(shape))
    if isinstance(other, Weight):
        return call.lift(units, by=None if other.transformed else other)
    return call.lift(units, where=call.ids(other) != 0)


def multiply(call: Call, left: Any, right: Any) -> Units:
    """The element-wise product of two values of broadcastable shapes."""
    if isinstance(left, Units) and isinstance(right, Units):
        return pairwise(call, left, right)
    units, other = (left, right) if isinstance(left, Units) else (right, left)
    if isinstance(other, Weight) and not other.transformed:
        return scale(call.draft, units, other)
    (ids, constant), expand = collapse(units.ids, _over_positions(call, units.ids, call.ids(other)))
    return Units(expand(torch.where(constant == NOTHING, NOTHING, ids)))


def _over_positions(call: Call, ids: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
    """In channel resolution a number that is zero at some positions of a unit (rotary tables) does not split it."""
    if call.unrolled or not bool((constant == NOTHING).any()):
        return constant
    ids, constant = torch.broadcast_tensors(ids, constant)
    for axis in range(ids.dim()):
        if ids.stride(axis) == 0 and constant.stride(axis) != 0:
            constant = constant.amin(axis, keepdim=True).expand(constant.shape)
    return constant


def pairwise(call: Call, left: Units, right: Units) -> Units:
    """One gate for each distinct pair of units; a constant operand that is not zero passes the other."""
    (a, b), expand = collapse(left.ids, right.ids)
    flat = torch.stack([a.reshape(-1), b.reshape(-1)], 1)
    result = torch.where(flat[:, 0] == CONSTANT, flat[:, 1], flat[:, 0])
    result[(flat == NOTHING).any(1)] = NOTHING
    both = (flat > 0).all(1) & (flat[:, 0] != flat[:, 1])  # a unit times itself is the unit
    if bool(both.any()):
        pairs = flat[both]
        first, index = unique_rows(pairs)
        gates = gate(call.draft, pairs[first, 0], pairs[first, 1], torch.arange(len(first)), len(first))
        result[both] = gates[index]
    return Units(expand(result.reshape(a.shape)))


def divide(call: Call, left: Any, right: Any, **kwargs: Any) -> Any:
    """left / right: the quotient is zero only where left is; a divisor is taken as not zero."""
    if not isinstance(right, Units):
        return left
    inverse = call.lift(right)
    if not isinstance(left, Units):
        return multiply(call, inverse, left)
    return pairwise(call, left, inverse)


def parted(bias: Value | None) -> tuple[Weight | None, Value | None]:
    """A bias as what the layer of a kernel adds, and what is added after it: a layer adds parameters as they are stored."""
    return (bias, None) if isinstance(bias, Weight) and not bias.transformed else (None, bias)


def biased(call: Call, value: Units, bias: Value | None) -> Units:
    """The value plus a bias that broadcasts against it; None is no bias."""
    return value if bias is None else add(call, value, bias)


def per_channel(entries: Value | None, axes: int) -> Value | None:
    """One entry for each channel, as it broadcasts against channels that ``axes`` further axes follow."""
    return None if entries is None else entries.moved(lambda each: each.reshape(-1, *[1] * axes))

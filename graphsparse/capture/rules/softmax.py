"""Softmax: never zero, and moved wherever any entry along its axis is."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.waiting import Scores, weights_of
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import CONSTANT, NOTHING
from graphsparse.capture.values import Units

aten = torch.ops.aten


def softmax(call: Call, value: Units, dim: int, *rest: Any, **kwargs: Any) -> Units:
    """One unit per row, the axis repeated; over a single entry it is the constant one."""
    axis = dim % max(1, len(value.shape))
    if isinstance(value, Scores) and axis == len(value.shape) - 1:
        return Units(weights_of(call, value.parts))
    if not value.shape or value.shape[axis] == 1:
        return Units(torch.full((), CONSTANT).expand(call.shape))
    return Units(call.lift(Units(call.united_over(value.ids, axis))).ids.expand(call.shape))


def log_softmax(call: Call, value: Units, dim: int, *rest: Any, **kwargs: Any) -> Units:
    """As softmax; over a single entry it is zero."""
    if not value.shape or value.shape[dim] == 1:
        return Units(torch.full((), NOTHING).expand(call.shape))
    return softmax(call, value, dim)


RULES: dict[Any, Rule] = {
    **rows([aten.softmax.int, aten._softmax.default], Rule(softmax, weights="function", flows="softmax")),
    aten._safe_softmax.default: Rule(softmax, weights="function"),
    **rows([aten.log_softmax.int, aten._log_softmax.default], Rule(log_softmax, weights="function", flows="softmax")),
}

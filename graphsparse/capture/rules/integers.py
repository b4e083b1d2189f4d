"""Operations on integers: tokens go through some, and so do the units of an integer input that the model computes with."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.values import Units

aten = torch.ops.aten


def mixture(call: Call, *args: Any, **kwargs: Any) -> Units:
    """Any function of integers of broadcastable shapes: it depends on all of them, and need not be zero at zero."""
    made = call.union([a for a in args if isinstance(a, Units)])
    return call.lift(Units(made.ids.expand(call.shape)))


def one_hot(call: Call, value: Units, *rest: Any, **kwargs: Any) -> Units:
    """Each number of a row of zeros and a one depends on the integer that says where the one is."""
    return call.lift(Units(value.ids.unsqueeze(-1).expand(call.shape)))


MIXTURES = """
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift bitwise_not floor_divide __and__ __or__
    __xor__ __lshift__ __rshift__ logical_not logical_and logical_or logical_xor
""".split()
FORMS = ("default", "Tensor", "Scalar", "Tensor_Scalar")
OVERLOADS = [
    getattr(getattr(aten, name), form) for name in MIXTURES for form in FORMS if hasattr(getattr(aten, name), form)
]
BUCKETS = [aten.floor_divide.default, aten.bitwise_and.Scalar, aten.bitwise_xor.Scalar, aten.div.Tensor_mode]
RULES: dict[Any, Rule] = {
    **rows(OVERLOADS, Rule(None, counts=mixture)),
    **rows(BUCKETS, Rule(None, tokens="shifts", counts=mixture)),
    aten.div.Scalar_mode: Rule(None, counts=mixture),
    aten.one_hot.default: Rule(None, counts=one_hot),
    aten.masked_scatter.default: Rule(None, tokens="keeps"),
}

"""An integer input that the model computes with, on its way to floating numbers. All other integers are constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Node

from graphsparse.capture.call import Call
from graphsparse.capture.nodes import kind_of
from graphsparse.capture.rules import movement
from graphsparse.capture.values import Units

aten = torch.ops.aten
PLACES = {
    aten.argmax.default, aten.argmin.default, aten.argsort.default, aten.argsort.stable, aten.nonzero.default,
    aten.searchsorted.Tensor, aten.bucketize.Tensor,
}  # fmt: skip
"""Where elements stand tells nothing of a number that is computed with."""


def tells(node: Node, user: Node) -> bool:
    """Whether the result of a call that reads a value still tells of its number: no comparison, no place, no size."""
    made = kind_of(user)
    return user.target not in PLACES and made != "nothing" and (made != "truth" or kind_of(node) == "truth")


def carries(node: Node, values: Mapping[Node, Any]) -> bool:
    """Whether a call that gives integers tells of an integer that an input moves."""
    moved = [each for each in node.all_input_nodes if isinstance(values.get(each), Units)]
    return any(kind_of(each) != "number" and tells(each, node) for each in moved)


def keep(call: Call, value: Units, *args, **kwargs) -> Units:
    """A copy, or another type of integers."""
    return value


def mixture(call: Call, *args, **kwargs) -> Units:
    """Any function of integers of broadcastable shapes: it depends on all of them, and need not be zero at zero."""
    made = call.union([a for a in args if isinstance(a, Units)])
    return call.draft.lift(Units(made.ids.expand(call.shape)))


def one_hot(call: Call, value: Units, *rest, **kwargs) -> Units:
    """Each number of a row of zeros and a one depends on the integer that says where the one is."""
    return call.draft.lift(Units(value.ids.unsqueeze(-1).expand(call.shape)))


MIXTURES = """
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift bitwise_not floor_divide __and__ __or__
    __xor__ __lshift__ __rshift__ logical_not logical_and logical_or logical_xor div
""".split()
FORMS = ("default", "Tensor", "Scalar", "Tensor_Scalar", "Tensor_mode", "Scalar_mode")
OVERLOADS = [getattr(getattr(aten, name), form, None) for name in MIXTURES for form in FORMS]


RULES: dict[Any, Any] = {
    **dict.fromkeys(movement.KEEPS, keep),
    **{overload: mixture for overload in OVERLOADS if overload is not None},
    aten.one_hot.default: one_hot,
}
"""Of calls that give integers: in place of the rules for floating numbers, or beside them."""

"""An integer input that the model computes with, on its way to floating numbers. All other integers are constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.fx import Node

from graphsparse.capture.nodes import kind_of
from graphsparse.capture.table import named
from graphsparse.capture.values import Units

PLACES = set(named("argmax argmin argsort argsort.stable nonzero searchsorted.Tensor bucketize.Tensor"))
"""Operations that give places of elements."""


def tells(node: Node, user: Node) -> bool:
    """Whether the result of a call still depends on how large a value is: comparisons, places and shapes do not."""
    made = kind_of(user)
    return user.target not in PLACES and made != "nothing" and (made != "truth" or kind_of(node) == "truth")


def carries(node: Node, values: Mapping[Node, Any]) -> bool:
    """Whether the integers that a call gives depend on an integer that an input changes."""
    moved = [each for each in node.all_input_nodes if isinstance(values.get(each), Units)]
    return any(kind_of(each) != "number" and tells(each, node) for each in moved)

"""Parameters on their way to a kernel: views stay views; anything else is a function of them that no input moves."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.rules import movement
from graphsparse.capture.values import Known, Weight


def transform(node: Node, args: tuple, kwargs: dict) -> Any:
    """A view of a parameter where the operation is one; a function of its entries where shapes keep; else a constant."""
    weight = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Weight))
    if node.target in movement.KEEPS:
        return weight
    if node.target in movement.MOVES or node.target in movement.SHAPES or node.target is torch.ops.aten.expand.default:
        return _moved(node, weight, args, kwargs)
    return tree_map(lambda value: _function(value, args, kwargs), node.meta["val"])


def _moved(node: Node, weight: Weight, args: tuple, kwargs: dict) -> Any:
    plain = tree_map(lambda a: a.view if isinstance(a, Weight) else a, (args, kwargs))
    result = node.target(*plain[0], **plain[1])  # type: ignore[operator]

    def part(view: Any) -> Any:
        if not isinstance(view, torch.Tensor):
            return view
        shares = view._is_view() and view._base is _root(weight.view) or view is weight.view
        return Weight(weight.name, view, weight.transformed) if shares else Known(view)

    return tree_map(part, result)


def _root(view: torch.Tensor) -> torch.Tensor:
    return view._base if view._is_view() else view  # type: ignore[return-value]


def _function(value: Any, args: tuple, kwargs: dict) -> Any:
    """The result of arithmetic on parameters: it keeps the largest parameter's entries where it has its shape."""
    if not isinstance(value, torch.Tensor):
        return value
    weights = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Weight)]
    same = [weight for weight in weights if weight.shape == value.shape]
    if same and value.is_floating_point():
        return Weight(same[0].name, same[0].view, transformed=True)
    return Known(torch.empty(value.shape, dtype=value.dtype, device="meta"))

"""Parameters on their way to a kernel: views stay views; anything else is a function of them that no input moves."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.draft import entries_of
from graphsparse.capture.rules import movement
from graphsparse.capture.values import Known, Weight

aten = torch.ops.aten
MOVED = {
    *movement.MOVES, *movement.SHAPES, aten.expand.default, aten.index_select.default, aten.index.Tensor,
    aten.constant_pad_nd.default, aten.pad.default, aten.embedding.default,
}  # fmt: skip
NEVER = -1  # the entry of an element that is zero whatever the parameter holds


def transform(node: Node, args: tuple, kwargs: dict) -> Any:
    """A view of a parameter where the operation is one; a function of its entries where shapes keep; else a constant."""
    weight = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Weight))
    if node.target in movement.KEEPS:
        return weight
    unknown = any(isinstance(leaf, Known) and not leaf.known for leaf in tree_leaves((args, kwargs)))
    if node.target in MOVED and unknown:  # rows that an input chooses: some number of the parameter
        return tree_map(_unknown, node.meta.get("val"))
    if node.target in MOVED:
        return _moved(node, weight, args, kwargs)
    return tree_map(lambda value: _function(value, node, args, kwargs), node.meta.get("val"))


def _unknown(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return Known(torch.empty(value.shape, dtype=value.dtype, device="meta"))


def _moved(node: Node, weight: Weight, args: tuple, kwargs: dict) -> Any:
    """The operation on the view; where that copies, on the flat index of every entry."""
    if weight.entries is None:
        views = _apply(node, weight.view, args, kwargs)
        if all(_shares(view, weight.view) for view in (views if isinstance(views, (tuple, list)) else (views,))):
            return tree_map(lambda view: Weight(weight.name, view, weight.transformed), views)
    from_one = _apply(node, entries_of(weight) + 1, args, kwargs)  # what an operation fills with zeros is never

    def copied(entries: torch.Tensor) -> Weight:
        cut = bool((entries == 0).any())
        return Weight(weight.name, torch.empty(entries.shape, device="meta"), weight.transformed or cut, entries - 1)

    return tree_map(copied, from_one)


def _apply(node: Node, layout: torch.Tensor, args: tuple, kwargs: dict) -> Any:
    """``layout`` in place of the weight; a view that index tensors of other strides do not allow is a reshape of them."""
    plain = tree_map(
        lambda a: layout if isinstance(a, Weight) else a.tensor if isinstance(a, Known) else a, (args, kwargs)
    )
    if node.target in movement.SHAPES:
        return layout.reshape(node.meta["val"].shape)
    return node.target(*plain[0], **plain[1])  # type: ignore[operator]


def _shares(part: Any, view: torch.Tensor) -> bool:
    """Whether a result is a view of the same parameter (tril and the like keep the shape but change the content)."""
    return isinstance(part, torch.Tensor) and (part is view or part._is_view() and part._base is _root(view))


def _root(view: torch.Tensor) -> torch.Tensor:
    return view._base if view._is_view() else view  # type: ignore[return-value]


def _function(value: Any, node: Node, *node_args: Any) -> Any:
    """The result of arithmetic on parameters: it keeps the largest parameter's entries where it has its shape."""
    if not isinstance(value, torch.Tensor):
        return value
    args, kwargs = node_args
    weights = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Weight)]
    same = [weight for weight in weights if weight.shape == value.shape]
    if same and value.is_floating_point():
        return Weight(same[0].name, same[0].view, True, _without_zeros(node, same[0], args, kwargs))
    return _unknown(value)


def _without_zeros(node: Node, weight: Weight, args: tuple, kwargs: dict) -> torch.Tensor | None:
    """The entries of a weight times a mask that the model holds (autoregressive layers): never where that is zero."""
    if node.target not in CUTTING:
        return weight.entries
    try:
        plain = tree_map(lambda a: torch.ones(a.shape) if isinstance(a, Weight) else a.tensor if isinstance(a, Known) else a,
                         (args, kwargs))  # fmt: skip
        kept = node.target(*plain[0], **plain[1])
    except (RuntimeError, NotImplementedError):
        return weight.entries
    if kept.is_meta or bool((kept != 0).all()):
        return weight.entries
    return torch.where(kept != 0, entries_of(weight), NEVER)


CUTTING = {aten.mul.Tensor, aten.masked_fill.Scalar, aten.where.self, aten.where.ScalarOther, aten.masked_fill.Tensor}

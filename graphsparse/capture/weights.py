"""Parameters on their way to a kernel: views stay views; anything else is a function of them that no input moves."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.nodes import called, place_of
from graphsparse.capture.table import Rule
from graphsparse.capture.values import NEVER, Joint, Known, Weight, unknown
from graphsparse.errors import CaptureError, brief


def transform(node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A view of a parameter where the operation is one; a function of its entries where shapes keep; else a constant."""
    weight = next(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Weight))
    if row.weights == "keeps":
        return weight
    open_ = any(isinstance(leaf, Known) and not leaf.known for leaf in tree_leaves((args, kwargs)))
    joined = _joined(node, row, args) if row.weights in ("joins", "adds") else None
    if joined is not None:
        return joined
    if not row.weights or row.weights in ("moves", "reshapes") and open_:  # mixtures, or rows that an input chooses
        return tree_map(unknown, node.meta.get("val"))
    if row.weights in ("moves", "reshapes"):
        return _moved(node, row, weight, args, kwargs)
    return tree_map(lambda value: _function(value, node, row, args, kwargs), node.meta.get("val"))


def _moved(node: Node, row: Rule, weight: Weight, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operation on the view; where that copies, on the flat index of every entry."""
    if weight.entries is None:
        views = _apply(node, row, weight.view, args, kwargs)
        if all(_shares(view, weight.view) for view in (views if isinstance(views, (tuple, list)) else (views,))):
            return tree_map(lambda view: replace(weight, view=view), views)
    from_one = _apply(node, row, weight.index + 1, args, kwargs)  # what an operation fills with zeros is never

    def copied(entries: torch.Tensor) -> Weight:
        cut = bool((entries == 0).any())
        view = torch.empty(entries.shape, device="meta")
        return replace(weight, view=view, transformed=weight.transformed or cut, entries=entries - 1)

    return tree_map(copied, from_one)


def _apply(node: Node, row: Rule, layout: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``layout`` in place of the weight; a view that index tensors of other strides do not allow is a reshape of them."""
    plain = tree_map(
        lambda a: layout if isinstance(a, Weight) else a.tensor if isinstance(a, Known) else a, (args, kwargs)
    )
    if row.weights == "reshapes":
        return layout.reshape(node.meta["val"].shape)
    try:
        return called(node, *plain)
    except Exception as error:  # an index out of range, say: example inputs that are longer than a table
        raise CaptureError(
            "an operation that moves a parameter must be one that torch can run", place=place_of(node)[0] or "the model",
            received=f"{node.target} of a parameter of shape {tuple(layout.shape)}: {brief(error)}",
            way_out="try the model on its example inputs",
        ) from error  # fmt: skip


def _shares(part: Any, view: torch.Tensor) -> bool:
    """Whether a result is a view of the same parameter (tril and the like keep the shape but change the content)."""
    return isinstance(part, torch.Tensor) and (part is view or part._is_view() and part._base is _root(view))


def _root(view: torch.Tensor) -> torch.Tensor:
    return view._base if view._is_view() else view  # type: ignore[return-value]


def _joined(node: Node, row: Rule, args: tuple[Any, ...]) -> Weight | None:
    """Parameters side by side, on top of each other or added up, as one weight; None where something else is among them."""
    adds = row.weights == "adds"
    values = [*args[:2]] if adds else [*args[0]]
    if not all(isinstance(value, Weight) or not adds and _is_zero(value) for value in values):
        return None
    weights = [value for value in values if isinstance(value, Weight)]
    shape = node.meta["val"].shape
    if adds:
        entries = torch.arange(shape.numel()).reshape(shape)
        parts = [(name, index.expand(shape).reshape(-1)) for w in weights for name, index in w.stored(w.index)]
    else:
        starts = dict(zip(weights, accumulate((w.shape.numel() for w in weights), initial=0), strict=False))
        grids = [
            starts[v] + torch.arange(v.shape.numel()).reshape(v.shape) if v in starts else torch.full(v.shape, NEVER)
            for v in values
        ]
        size = sum(w.shape.numel() for w in weights)
        parts = [(name, _among(size, starts[w], index)) for w in weights for name, index in w.stored(w.index)]
        entries = called(node, (grids, *args[1:]), {})
    name = " and ".join(w.name for w in weights)
    # a sum is not zero where only one of its terms is: as a scale it cuts nothing that a mask of one term would cut
    changed = adds or any(w.transformed for w in weights)
    return Weight(name, torch.empty(shape, device="meta"), changed, entries, Joint(tuple(parts)))


def _is_zero(value: Any) -> bool:
    return isinstance(value, Known) and value.known and not bool(value.tensor.any())


def _among(size: int, start: int, index: torch.Tensor) -> torch.Tensor:
    """An index at its places among those of a whole."""
    whole = torch.full((size,), NEVER)
    whole[start : start + index.numel()] = index.reshape(-1)
    return whole


def _function(value: Any, node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of arithmetic on parameters: it keeps the largest parameter's entries where it has its shape."""
    if not isinstance(value, torch.Tensor):
        return value
    weights = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Weight)]
    same = [weight for weight in weights if weight.shape == value.shape]
    if same and value.is_floating_point():
        added = any(isinstance(a, Known) and not _is_zero(a) for a in args) and row.weights == "adds"
        entries = _without_zeros(node, row, same[0], args, kwargs)
        return replace(same[0], transformed=True, lifted=same[0].lifted or added, entries=entries)
    return unknown(value)


def _without_zeros(
    node: Node, row: Rule, weight: Weight, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> torch.Tensor | None:
    """The entries of a weight times a mask that the model holds (autoregressive layers): never where that is zero."""
    if row.weights != "cuts":
        return weight.entries
    try:
        plain = tree_map(lambda a: torch.ones(a.shape) if isinstance(a, Weight) else a.tensor if isinstance(a, Known) else a,
                         (args, kwargs))  # fmt: skip
        kept = called(node, *plain)
    except RuntimeError:
        return weight.entries
    if kept.is_meta or bool((kept != 0).all()):
        return weight.entries
    return torch.where(kept != 0, weight.index, NEVER)

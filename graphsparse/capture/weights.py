"""Values that no input moves. Numbers are computed: rotary tables, masks, positions, indices. Parameters on their way
to a kernel stay views of themselves; what is no view is a function of their entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch.fx import Node
from torch.nn.functional import pad
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.nodes import called, place_of, tensors_in
from graphsparse.capture.operations import is_computed
from graphsparse.capture.table import Rule
from graphsparse.capture.values import NEVER, Known, Weight, unknown
from graphsparse.errors import CaptureError, brief

CPU = torch.device("cpu")


def compute(node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the operation on the numbers; where they are not known (meta device), keep the shape alone.

    Operations of which nothing is known (see `graphsparse.capture.operations`) are not run: they may do more than compute.
    An integer input that is moved, filled, shifted or put into buckets stays a token: any index may come in its place.
    Comparisons, sums along an axis and places of maxima do not: masks and positions are constants.
    """
    token, made = _token(row, args), _computed(node, *_plain((args, kwargs)))
    return tree_map(lambda leaf: replace(leaf, token=token) if isinstance(leaf, Known) else leaf, made)


def _computed(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    some_unknown = len({tensor.is_meta for tensor in tensors_in((args, kwargs))}) > 1
    if some_unknown or not is_computed(node.target):  # scatter, say, would read numbers that are not there
        return _unknown(node)
    try:
        result = called(node, args, kwargs)
    except RuntimeError:  # of an operation that has no form for these devices, NotImplementedError too
        return _unknown(node)
    except Exception as error:  # an index out of range, say
        raise CaptureError(
            "an operation on constants must be one that torch can run", place=f"{node.name} ({node.target})",
            received=brief(error), way_out="try the model on its example inputs",
        ) from error  # fmt: skip
    if "empty" in str(node.target):  # whatever the memory held before is no constant of the model
        for made in tensors_in(result):
            made.zero_()
    return tree_map(lambda leaf: Known(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)


def _unknown(node: Node) -> Any:
    """What a call gives, as numbers of which only the shapes are known."""
    return tree_map(unknown, node.meta.get("val"))


def _plain(given: Any, of_weight: Callable[[Weight], torch.Tensor] = lambda weight: weight.view) -> Any:
    """Arguments as torch takes them; ``of_weight`` says what stands for a parameter."""

    def plain(leaf: Any) -> Any:
        if isinstance(leaf, Weight):
            return of_weight(leaf)
        return leaf.tensor if isinstance(leaf, Known) else CPU if isinstance(leaf, torch.device) else leaf

    return tree_map(plain, given)


def _token(row: Rule, args: tuple[Any, ...]) -> str | None:
    """Which integer input the result holds indices of: a token stays one among plain numbers, but not beside a tensor.

    The sum of two tensors makes positions (a mask times its running sum), and positions are constants.
    """
    tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Known)]
    if not row.tokens or row.tokens == "shifts" and sum(leaf.tensor.dim() > 0 for leaf in tensors) != 1:
        return None
    return next((leaf.token for leaf in tensors if leaf.token), None)


def transform(node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operation makes of a parameter: a view, a function of entries where the shape stays, or a constant."""
    leaves = tree_leaves((args, kwargs))
    weight = next(leaf for leaf in leaves if isinstance(leaf, Weight))
    if row.weights == "keeps":
        return weight
    joined = _joined(node, row, args) if row.weights in ("joins", "adds", "chooses") else None
    if joined is not None:
        return joined
    moves = row.weights in ("moves", "reshapes")
    open_ = any(isinstance(leaf, Known) and not leaf.known for leaf in leaves)
    if not row.weights or moves and open_:  # mixtures, or rows that an input chooses
        return _unknown(node)
    if moves:
        return _moved(node, row, weight, args, kwargs)
    return tree_map(lambda value: _function(value, node, row, args, kwargs), node.meta.get("val"))


def _moved(node: Node, row: Rule, weight: Weight, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operation on the view; where that copies, on the flat index of every entry."""

    def shares(part: Any) -> bool:  # tril and the like keep the shape but change the content
        root = weight.view._base if weight.view._is_view() else weight.view
        return isinstance(part, torch.Tensor) and (part is weight.view or part._is_view() and part._base is root)

    if weight.entries is None:
        views = _apply(node, row, weight.view, args, kwargs)
        if all(map(shares, views if isinstance(views, (tuple, list)) else (views,))):
            return tree_map(lambda view: replace(weight, view=view), views)
    first, second = (_apply(node, row, weight.index.double() + n, args, kwargs) for n in (0, 1))

    def copied(entries: torch.Tensor, next_ones: torch.Tensor) -> Weight:
        there = next_ones != entries  # what an operation fills in is no entry
        view, filled = torch.empty(entries.shape, device="meta"), bool((entries[~there] != 0).any())
        places = torch.where(there, entries, NEVER).long()
        transformed = weight.transformed or not bool(there.all())
        return replace(weight, view=view, transformed=transformed, entries=places, lifted=weight.lifted or filled)

    return tree_map(copied, first, second)


def _apply(node: Node, row: Rule, layout: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operation on ``layout``, which stands for the weight; a view is a reshape, since strides may not allow it."""
    if row.weights == "reshapes":
        return layout.reshape(node.meta["val"].shape)
    try:
        return called(node, *_plain((args, kwargs), lambda _: layout))
    except Exception as error:  # an index out of range, say: example inputs that are longer than a table
        raise CaptureError(
            "an operation that moves a parameter must be one that torch can run", place=place_of(node)[0] or "the model",
            received=f"{node.target} of a parameter of shape {tuple(layout.shape)}: {brief(error)}",
            way_out="try the model on its example inputs",
        ) from error  # fmt: skip


def _joined(node: Node, row: Rule, args: tuple[Any, ...]) -> Weight | None:
    """Parameters side by side, on top of each other or added up, as one weight; None where something else is among them.

    Where a known condition chooses between two, each is there at the places where it is chosen.
    """
    adds = row.weights in ("adds", "chooses")
    chosen = [torch.tensor(True)] * 2
    if row.weights == "chooses":
        condition, args = args[0], args[1:]
        if not (isinstance(condition, Known) and condition.known):
            return None
        chosen = [condition.tensor, ~condition.tensor]
    values = [*args[:2]] if adds else [*args[0]]
    if not all(isinstance(value, Weight) or not adds and _is_zero(value) for value in values):
        return None
    weights = [value for value in values if isinstance(value, Weight)]
    shape = node.meta["val"].shape
    if adds:
        entries = torch.arange(shape.numel()).reshape(shape)
        parts = [
            (name, torch.where(there, index, NEVER).expand(shape).reshape(-1))
            for w, there in zip(weights, chosen, strict=True)
            for name, index in w.stored(w.index)
        ]
    else:
        starts = dict(zip(weights, accumulate((w.shape.numel() for w in weights), initial=0), strict=False))
        grids = [
            starts[v] + torch.arange(v.shape.numel()).reshape(v.shape) if v in starts else torch.full(v.shape, NEVER)
            for v in values
        ]
        size = sum(w.shape.numel() for w in weights)
        parts = [
            (name, pad(index.flatten(), (starts[w], size - starts[w] - index.numel()), value=NEVER))
            for w in weights
            for name, index in w.stored(w.index)
        ]
        entries = called(node, ([grid - NEVER for grid in grids], *args[1:]), {}) + NEVER  # what is filled in is zero
    name = " and ".join(w.name for w in weights)
    # a sum is not zero where only one of its terms is: as a scale it cuts nothing that a mask of one term would cut
    changed = adds or any(w.transformed for w in weights)
    return Weight(name, torch.empty(shape, device="meta"), changed, entries, tuple(parts))


def _is_zero(value: Any) -> bool:
    return isinstance(value, Known) and value.known and not bool(value.tensor.any())


def _function(value: Any, node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of arithmetic on parameters: it keeps the largest parameter's entries where it has its shape."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return unknown(value)
    weights = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Weight)]
    zero, one = (_at(number, node, args, kwargs) for number in (0.0, 1.0))
    cuts = row.weights in ("cuts", "chooses")
    if (
        cuts and zero is not None and one is not None and torch.equal(zero, one)
    ):  # times zero, or not chosen anywhere: no entry is left
        return Known(zero)
    weight = next((weight for weight in weights if weight.shape == value.shape), None)
    if weight is None:
        return unknown(value)
    if zero is None or one is None:  # numbers that the model computes are among them
        return replace(weight, transformed=True, lifted=weight.lifted or row.weights == "adds")
    entries = weight.entries
    if cuts and not bool((one != zero).all()):  # a mask that the model holds
        entries = torch.where(one != zero, weight.index, NEVER)
    return replace(weight, transformed=True, lifted=weight.lifted or bool((zero != 0).any()), entries=entries)


def _at(number: float, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    """The result where all entries of parameters are one number, zero where it is none; None where it is not known."""
    try:
        made = called(node, *_plain((args, kwargs), lambda weight: torch.full(weight.shape, number)))
    except RuntimeError:
        return None
    made = made[0] if isinstance(made, (tuple, list)) else made
    return None if made.is_meta else made.nan_to_num()

"""Parameters in an operation of which no row says what it does to them: the operation is tried out on numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from graphsparse.capture.nodes import place_of, result_of
from graphsparse.capture.operations import is_computed
from graphsparse.capture.origins import MOST, Origins, origins
from graphsparse.capture.values import NEVER, Known, Weight, unknown
from graphsparse.errors import CaptureError, brief


def tried(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Every result of a call: the parameter with its entries where they have come to be, or a number of unknown size.

    Raises:
        CaptureError: the operation cannot be tried, trying does not tell, or sizes depend on the parameter's values.
    """
    result_of(node)
    values, structure = tree_flatten(node.meta.get("val"))
    return tree_unflatten([_result(node, place, values, args, kwargs) for place in range(len(values))], structure)


def _result(node: Node, place: int, values: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One of the results of a call."""
    value, leaves = values[place], tree_leaves((args, kwargs))
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    known = all(leaf.known for leaf in leaves if isinstance(leaf, Known))
    if not (floating and known and is_computed(node.target)):
        return unknown(value)
    weights = [leaf for leaf in leaves if isinstance(leaf, Weight)]
    weight = next((each for each in weights if each.shape == value.shape), weights[0])
    found, zero = _tried(node, place, value.dtype, weight, args, kwargs)
    if bool(found.unsure.any()):
        raise _untold(node, "a function whose results hardly change")
    one_each = not bool(found.several.any()) and bool((found.copies | (found.place != NEVER)).all())
    if one_each and (len(weights) == 1 or zero):
        return _moved(weight, torch.Size(map(int, value.shape)), found)  # a size may be a symbol of one value
    if weight.shape == value.shape and found.vanishes:
        return replace(weight, transformed=True)
    return unknown(value)


def _moved(weight: Weight, shape: torch.Size, found: Origins) -> Weight:
    """The parameter with its entries at their new places."""
    transformed = weight.transformed or not bool(found.copies.all()) or bool((found.place == NEVER).any())
    if shape == weight.shape and bool((found.place == torch.arange(len(found.place))).all()):
        return replace(weight, transformed=transformed)
    entries = torch.where(found.place == NEVER, NEVER, weight.index.reshape(-1)[found.place.clamp(min=0)])
    view = torch.empty(shape, device="meta")
    return replace(weight, view=view, transformed=transformed, entries=entries.reshape(shape))


def _tried(
    node: Node, place: int, dtype: torch.dtype, weight: Weight, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Origins, bool]:
    """What each element of a result is made of, and whether all of them are zero where the parameter is."""
    leaves, structure = tree_flatten((args, kwargs))
    others = [None if leaf is weight else _numbers(leaf, dtype) for leaf in leaves]
    operation: Any = node.target

    def run(numbers: torch.Tensor) -> torch.Tensor:
        own = numbers.reshape(weight.shape)
        given, named = tree_unflatten(
            [own if leaf is weight else other for leaf, other in zip(leaves, others)], structure
        )
        return tree_leaves(operation(*given, **named))[place].reshape(-1)

    size = weight.shape.numel()
    if size > MOST:
        raise _untold(node, f"a parameter of {size:,} entries")
    try:
        with torch.no_grad():
            zero = run(torch.zeros(size, dtype=dtype))
            return origins(run, size, dtype), bool(((zero == 0) | zero.isnan()).all())
    except Exception as error:  # whatever an operation of somebody's own raises
        raise _untold(node, brief(error)) from error


def _numbers(leaf: Any, dtype: torch.dtype) -> Any:
    """An argument to try with; every other parameter is one."""
    if isinstance(leaf, Weight):
        return torch.ones(leaf.shape, dtype=dtype)
    return leaf.tensor if isinstance(leaf, Known) else leaf


def _untold(node: Node, received: str) -> CaptureError:
    return CaptureError(
        f"the row of {node.target} must say what becomes of a parameter: trying it out does not tell",
        place=place_of(node)[0] or "the model", received=received,
        way_out='give Rule(rule, weights="moves") in extra_rules where its elements move, weights="function" where each '
        "stays at its place",
    )  # fmt: skip

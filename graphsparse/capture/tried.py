"""Parameters in an operation of which no row says what it does to them: the operation is tried out on numbers.

Which entry is each element of the result made of? Every bit of an entry's place is tried: entries whose place has
the bit get new numbers, then those whose place lacks it. An element that depends on one entry changes in one of the
two, and so spells out the place of that entry. One that depends on several entries changes in both, for some bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.fx import Node
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # public, but torch's types do not say so
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from graphsparse.capture.nodes import called, place_of, result_of
from graphsparse.capture.operations import is_computed
from graphsparse.capture.values import NEVER, Known, Weight, unknown
from graphsparse.errors import CaptureError, brief

ROUNDS = 8
"""How often new numbers are drawn. A function of few values, such as a sign, changes only for some of them."""
MOST = 1 << 25
"""Entries of the largest parameter that is tried: it takes 50 runs of the operation."""


def tried(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Every result of a call: the parameter with its entries where they have come to be, or a number of unknown size.

    Raises CaptureError where the operation cannot be tried, trying does not tell, or sizes depend on the parameter.
    """
    result_of(node)
    values, structure = tree_flatten(node.meta.get("val"))
    return tree_unflatten([_result(node, at, each, args, kwargs) for at, each in enumerate(values)], structure)


def _result(node: Node, place: int, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a call at one place."""
    leaves = tree_leaves((args, kwargs))
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    known = all(leaf.known for leaf in leaves if isinstance(leaf, Known))
    if not (floating and known and is_computed(node.target)):
        return unknown(value)
    weights = [leaf for leaf in leaves if isinstance(leaf, Weight)]
    weight = next((each for each in weights if each.shape == value.shape), weights[0])
    try:
        found, zero = _tried(node, place, value.dtype, weight, args, kwargs)
    except LinAlgError:  # of an operation that mixes whole matrices
        return unknown(value)
    if bool(found.unsure.any()):
        raise _untold(node, "a function whose results hardly change")
    one_each = not bool(found.several.any()) and bool((found.copies | (found.place != NEVER)).all())
    if one_each and (len(weights) == 1 or zero):
        moved = _moved(weight, torch.Size(map(int, value.shape)), found)  # a size may be a symbol of one value
        return replace(moved, lifted=weight.lifted or not zero)
    if weight.shape == value.shape and found.vanishes:
        return replace(weight, transformed=True)
    return unknown(value)


def _moved(weight: Weight, shape: torch.Size, found: Origins) -> Weight:
    """The parameter with its entries at their new places."""
    never = found.place == NEVER
    transformed = weight.transformed or not bool(found.copies.all()) or bool(never.any())
    if shape == weight.shape and bool((found.place == torch.arange(len(found.place))).all()):
        return replace(weight, transformed=transformed)
    entries = torch.where(never, NEVER, weight.index.reshape(-1)[found.place.clamp(min=0)]).reshape(shape)
    return replace(weight, view=torch.empty(shape, device="meta"), transformed=transformed, entries=entries)


def _tried(
    node: Node, place: int, dtype: torch.dtype, weight: Weight, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Origins, bool]:
    """What elements of a result are made of, and whether all are zero where the parameter is. Other parameters are one."""
    leaves, structure = tree_flatten((args, kwargs))
    ones = [torch.ones(leaf.shape, dtype=dtype) if isinstance(leaf, Weight) else leaf for leaf in leaves]
    others = [leaf.tensor if isinstance(leaf, Known) else leaf for leaf in ones]

    def run(numbers: torch.Tensor) -> torch.Tensor:
        own = numbers.reshape(weight.shape)
        given = [own if leaf is weight else other for leaf, other in zip(leaves, others, strict=True)]
        return tree_leaves(called(node, *tree_unflatten(given, structure)))[place].reshape(-1)

    size = weight.shape.numel()
    if size > MOST:
        raise _untold(node, f"a parameter of {size:,} entries")
    try:
        with torch.no_grad():
            zero = run(torch.zeros(size, dtype=dtype))
            return origins(run, size, dtype), bool(((zero == 0) | zero.isnan()).all())
    except LinAlgError:
        raise
    except Exception as error:  # whatever an operation of somebody's own raises
        raise _untold(node, brief(error)) from error


def _untold(node: Node, received: str) -> CaptureError:
    return CaptureError(
        f"the row of {node.target} must say what becomes of a parameter: trying it out does not tell",
        place=place_of(node)[0] or "the model", received=received,
        way_out='give Rule(rule, weights="moves") in extra_rules where its elements move, weights="function" where each '
        "stays at its place",
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Origins:
    """For each element of a result, flat. ``place``: the one entry that it depends on, NEVER where it depends on none.

    ``several``: it depends on more than one. ``unsure``: trying did not tell. ``copies``: it is that entry itself, or
    zero where it depends on none. ``vanishes``: it is zero where the entry at its own place is zero, and only there.
    """

    place: torch.Tensor
    several: torch.Tensor
    unsure: torch.Tensor
    copies: torch.Tensor
    vanishes: bool


def origins(run: Callable[[torch.Tensor], torch.Tensor], size: int, dtype: torch.dtype) -> Origins:
    """Try a function of ``size`` numbers: ``run`` takes them flat, and gives the elements of the result flat."""
    places, bits = torch.arange(size), max(1, (size - 1).bit_length())
    draws = torch.Generator().manual_seed(0)
    given = _numbers(size, dtype, draws)
    found = run(given)
    with_bit, without = (torch.zeros(found.numel(), dtype=torch.int64) for _ in range(2))
    whole = (1 << bits) - 1
    for done in range(ROUNDS):
        fresh = _numbers(size, dtype, draws)
        for bit in range(bits):
            chosen = (places >> bit) & 1 == 1
            with_bit |= _differ(run(torch.where(chosen, fresh, given)), found).long() << bit
            without |= _differ(run(torch.where(chosen, given, fresh)), found).long() << bit
        known = with_bit | without
        if done and bool((known == whole).all()):
            break
    none, several = known == 0, (with_bit & without) != 0
    place = torch.where(none, NEVER, with_bit)
    copies = found == torch.where(none, torch.zeros_like(found), given[place.clamp(0, size - 1)])
    zeros = torch.randint(0, 2, (size,), generator=draws) == 0
    vanishes = found.numel() == size and all(
        bool(((run(given.masked_fill(gone, 0)) == 0) == gone).all()) for gone in (zeros, ~zeros)
    )
    return Origins(place, several, ~none & ~several & (known != whole), copies, vanishes)


def _numbers(size: int, dtype: torch.dtype, draws: torch.Generator) -> torch.Tensor:
    """Numbers of either sign, none of them zero."""
    signs = torch.randint(0, 2, (size,), generator=draws) * 2 - 1
    return ((torch.rand(size, generator=draws) + 0.5) * signs).to(dtype)


def _differ(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one != other) & ~(one.isnan() & other.isnan())

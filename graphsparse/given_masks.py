"""The masks that people give for a network's parameters: names, shapes, types, and two names of one parameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from graphsparse.arrays import as_mask, by_name
from graphsparse.errors import MaskError
from graphsparse.kernels.masks import Mask, Shape

NAMES = "masks must go by the names of model.named_parameters()"


def checked_masks(
    masks: Mapping[str, Any],
    shapes: Mapping[str, Shape],
    aliases: Mapping[str, str],
    unused: Collection[str],
    known: Collection[str],
) -> dict[str, Mask]:
    """Masks under the network's own names as bits.

    Args:
        masks: what is given, by parameter name.
        shapes: the parameters that may have a mask.
        aliases: other names of parameters.
        unused: parameters that the network never uses; their masks are left out.
        known: the names to list where a name is wrong.

    Raises:
        MaskError: a name, shape or type does not fit, or masks under two names of one parameter differ.
    """
    result: dict[str, Mask] = {}
    names: dict[str, str] = {}
    for given, mask in by_name(masks, "masks").items():
        name = aliases.get(given, given)
        if name in unused:
            continue
        if name not in shapes:
            raise unknown_name(NAMES, given, known)
        checked = mask if isinstance(mask, Mask) else Mask.of(as_mask(given, mask))
        if checked.shape != tuple(shapes[name]):
            raise wrong_shape(given, checked.shape, shapes[name])
        if name in result and not result[name].same(checked):
            raise disagreement(names[name], given)
        result[name], names[name] = checked, given
    return result


def unknown_name(rule: str, given: str, known: Collection[str], owner: str = "graph") -> MaskError:
    """The error of a name that its owner, the graph or the model, does not have; with the first of those that it has."""
    listed = ", ".join(list(known)[:6]) + (", ..." if len(known) > 6 else "")
    received = f"a name that the {owner} does not have"
    return MaskError(rule, place=given, received=received, way_out=f"use the {owner}'s names: {listed}")


def wrong_shape(name: str, received: Sequence[int], wanted: Sequence[int]) -> MaskError:
    """The error of a mask that has another shape than its parameter."""
    rule, way_out = "a mask must have the shape of its parameter", f"give {tuple(wanted)}"
    return MaskError(rule, place=name, received=tuple(received), way_out=way_out)


def disagreement(one: str, other: str) -> MaskError:
    """The error of masks under two names of one parameter that do not agree."""
    return MaskError(
        "masks under two names of one parameter must agree", place=f"{one} and {other}",
        received="two masks that differ", way_out="give the mask once, under either name",
    )  # fmt: skip

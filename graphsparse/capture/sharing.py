"""Parameters that several places of a model use: one mask for each, and those of the uses that keep less of it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from torch import nn

from graphsparse.given_masks import disagreement
from graphsparse.kernels.masks import Mask


@dataclass(frozen=True, eq=False)
class Shared:
    """``masks``: one per parameter, by its first name. ``uses``: those of the uses that keep less, by the use's own name."""

    masks: Mapping[str, Mask]
    uses: Mapping[str, Mask]


def shared(masks: Mapping[str, Mask], canonical: Mapping[str, str], given: Container[str]) -> Shared:
    """One mask for each parameter, of masks that a model itself has where it uses the parameter.

    A connection is kept if any use keeps it. A use may keep less than another (a mask on one of two tied modules); where
    two uses each keep what the other drops, their masks contradict each other.

    Args:
        masks: by the name of each use.
        canonical: gives every name of a parameter its first one.
        given: the names whose masks are masks; the others are what is not zero in the weights of an unmasked use.

    Raises:
        MaskError: masks of two uses contradict each other; it names both.
    """
    by_parameter: dict[str, list[str]] = {}
    for name in masks:
        by_parameter.setdefault(canonical.get(name, name), []).append(name)
    whole: dict[str, Mask] = {}
    uses: dict[str, Mask] = {}
    for parameter, names in by_parameter.items():
        whole[parameter] = masks[names[0]]
        if all(masks[name].same(whole[parameter]) for name in names[1:]):
            continue
        _check_nested(masks, names, given)
        whole[parameter] = reduce(Mask.either, (masks[name] for name in names))
        uses.update({name: masks[name] for name in names if not masks[name].same(whole[parameter])})
    return Shared(whole, uses)


def _check_nested(masks: Mapping[str, Mask], names: list[str], given: Container[str]) -> None:
    """Two masks, or two patterns of zeros, of one parameter: one keeps all that the other keeps."""
    for place, name in enumerate(names):
        for other in names[:place]:
            if (name in given) != (other in given):
                continue
            wider = masks[name].either(masks[other])
            nested = name in given and (wider.same(masks[name]) or wider.same(masks[other]))
            if not nested and not masks[name].same(masks[other]):
                raise disagreement(other, name)


def separate(model: nn.Module, uses: Iterable[str]) -> dict[str, str]:
    """Give each of these uses a parameter object of its own that shares the memory, so that a capture tells it apart.

    ``model`` is changed: give a copy. Returns, for every name of such a use, the use's name.
    """
    made: dict[int, str] = {}
    for name in uses:
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        tied = module._parameters[leaf]
        assert tied is not None
        alone = nn.Parameter(tied.detach(), tied.requires_grad)
        module._parameters[leaf] = alone
        made[id(alone)] = name
    named = model.named_parameters(remove_duplicate=False)
    return {name: made[id(parameter)] for name, parameter in named if id(parameter) in made}

"""Masks in every place that holds a parameter: all modules that share it, all names that a file has for it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.utils import prune

from graphsparse.capture.parameters import first_names, parametrised_masks
from graphsparse.errors import MaskError
from graphsparse.given_masks import disagreement
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask

BY_USE = ("prune", "parametrization")  # forms of files that hold a mask of each use of a parameter
Masks = Mapping[str, torch.Tensor]


def under_every_name(masks: Masks, graph: LayeredGraph, weights: Masks, form: str) -> dict[str, torch.Tensor]:
    """Masks that are given by first names, under all names that a state dict has for their parameters.

    A use of a parameter that keeps less than others gets its own mask.

    Raises:
        MaskError: the uses of a parameter keep different connections, and the form cannot say that.
    """
    uses = _uses(graph)
    names = {name: graph.aliases.get(name, name) for name in (*masks, *weights)}
    there = {names[name] for name in weights}
    found = {
        name: masks[first] & uses[name] if name in uses else masks[first]
        for name, first in names.items()
        if first in masks and (name in weights or first not in there)
    }
    differ = [name for name in uses if name in found and not torch.equal(found[name], masks[names[name]])]
    if differ and form not in BY_USE:
        raise MaskError(
            f"a file of the form {form} must have one mask for each parameter", place=", ".join(differ),
            received="a mask that keeps less than that of another use of the parameter",
            way_out=f"write {' or '.join(BY_USE)}",
        )  # fmt: skip
    return found


def on_tied_tensors(masks: Masks, weights: Masks) -> dict[str, torch.Tensor]:
    """Masks under all names of a state dict whose tensors share the memory of a masked one.

    Raises:
        MaskError: masks under two names of one tensor differ.
    """
    first = first_names(weights)
    given: dict[str, str] = {}
    for name, mask in masks.items():
        known = given.setdefault(first.get(name, name), name)
        if not torch.equal(masks[known], mask):
            raise disagreement(known, name)
    return {**masks, **{name: masks[given[parameter]] for name, parameter in first.items() if parameter in given}}


@torch.no_grad()
def put_on_module(model: nn.Module, masks: Masks, graph: LayeredGraph, form: str) -> None:
    """Put masks on every module that holds one of their parameters, as "prune" or "zeros".

    ``graph`` is of the model under its present masks. A use that keeps less than others still does: its own mask stays.
    """
    uses = _uses(graph)
    by_use = {use.parameter for use in graph.uses.values()}
    for path, module in list(model.named_modules()):
        parametrised = {leaf: (original, steps) for leaf, original, steps in parametrised_masks(module)}
        for leaf in [*(name.removesuffix("_orig") for name in list(module._parameters)), *parametrised]:
            name = f"{path}.{leaf}" if path else leaf
            first = graph.aliases.get(name, name)
            if first not in masks:
                continue
            mask = masks[first] & uses[name] if name in uses else masks[first]
            if leaf in parametrised:
                original, steps = parametrised[leaf]
                if form == "zeros":
                    _zero(original, masks[first])
                else:
                    for step in steps:  # what a step drops stays dropped
                        step.copy_((step != 0) & mask.to(step.device))
            elif f"{leaf}_mask" in module._buffers and (form == "prune" or first in by_use):
                _put_on_hook(module, leaf, masks[first], mask, form, graph.kept.get(first))
            else:
                _put(module, leaf, mask, form)


def _uses(graph: LayeredGraph) -> dict[str, torch.Tensor]:
    return {use.name: torch.from_numpy(use.mask.unpack()) for use in graph.uses.values()}


def _put(module: nn.Module, leaf: str, mask: torch.Tensor, form: str) -> None:
    if f"{leaf}_mask" in module._buffers:
        prune.remove(module, leaf)
    if form == "prune":
        prune.custom_from_mask(module, leaf, mask.to(getattr(module, leaf).device))
    else:
        _zero(getattr(module, leaf), mask)


def _put_on_hook(
    module: nn.Module, leaf: str, whole: torch.Tensor, mask: torch.Tensor, form: str, present: Mask | None
) -> None:
    """A module that torch.nn.utils.prune masks already: its mask is replaced, or its parameter zeroed below it."""
    original, buffer = getattr(module, f"{leaf}_orig"), getattr(module, f"{leaf}_mask")
    if form == "zeros":
        _zero(original, whole)
    else:
        if present is not None:  # what was dropped does not come back
            _zero(original, torch.from_numpy(present.unpack()))
        buffer.copy_(mask)
    setattr(module, leaf, original * buffer)


def _zero(parameter: torch.Tensor, mask: torch.Tensor) -> None:
    zero = torch.zeros((), dtype=parameter.dtype, device=parameter.device)
    parameter.copy_(torch.where(mask.to(parameter.device), parameter, zero))

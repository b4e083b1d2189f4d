"""Low-rank adapters on a sparse base (PEFT): merge them and keep the zeros. Extra: ``peft``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from graphsparse.capture import export
from graphsparse.errors import GraphsparseError
from graphsparse.measures.sparsity import Sparsity, sparsity
from graphsparse.training.kept import as_integers, checked
from graphsparse.training.zeroing import zero

_INSIDE, _WRAPPED = "base_model.model.", "base_layer."


def is_adapted(model: Any) -> bool:
    """Whether PEFT has put adapters on the model, of a kind that can be merged."""
    return callable(getattr(model, "merge_and_unload", None)) and hasattr(model, "peft_config")


def base_names(model: nn.Module) -> dict[str, str]:
    """The names of the base model's parameters, and what they are called while PEFT's adapters are on it.

    Empty for a model without adapters.
    """
    if not is_adapted(model):
        return {}
    named = [name for name, _ in model.named_parameters() if name.startswith(_INSIDE) and ".lora_" not in name]
    return {name.removeprefix(_INSIDE).replace(_WRAPPED, ""): name for name in named}


@dataclass(frozen=True, eq=False)
class Merged:
    """``model``: the base model with merged weights, plain and under its own names. ``masks``: what was kept of it."""

    model: nn.Module
    masks: Mapping[str, torch.Tensor] = field(repr=False)


def merge_lora(model: nn.Module, masks: Mapping[str, Any] | None = None) -> Merged:
    """Merge PEFT's adapters into a sparse base model, and keep the zeros of the base.

    PEFT's own merge adds a dense product to each weight, and nothing stays sparse. Here what the base drops is dropped
    again afterwards: the merged model has the adapters' part only where the base has a weight.

    Args:
        model: a model of PEFT, of any kind of adapter that it can merge. It is used up, as by ``merge_and_unload``.
        masks: ``{parameter name: bool tensor}`` by the names of the base model. None: the zeros of each weight that has
            an adapter, where there are any.

    Returns:
        ``.model``, the base model with merged weights, plain and under its own names; and ``.masks``.

    Raises:
        GraphsparseError: the model has no adapters that can be merged. MaskError: a mask does not fit.

    Example:
        >>> import peft
        >>> base = nn.Sequential(nn.Linear(4, 4, bias=False))
        >>> _ = base[0].weight.data.fill_diagonal_(0.0)
        >>> adapted = peft.get_peft_model(base, peft.LoraConfig(target_modules=["0"], init_lora_weights=False))
        >>> merge_lora(adapted).model[0].weight.diagonal().count_nonzero()
        tensor(0)
    """
    if not is_adapted(model):
        raise GraphsparseError(
            "a model to merge must be one of PEFT, with adapters that it can merge", received=type(model).__name__,
            way_out="give the model of peft.get_peft_model or PeftModel.from_pretrained",
        )  # fmt: skip
    adapted: Any = model
    names = base_names(model)
    if masks is None:
        found = {name: model.get_parameter(inside) != 0 for name, inside in names.items() if _WRAPPED in inside}
        wanted = {name: mask for name, mask in found.items() if not mask.all()}
    else:
        given = checked(model, {names.get(name, name): mask for name, mask in masks.items()})
        back = {inside: name for name, inside in names.items()}
        wanted = {back.get(name, name): mask for name, (_, mask) in given.items()}
    merged: nn.Module = adapted.merge_and_unload()
    with torch.no_grad():
        zero((parameter, as_integers(mask, parameter)) for parameter, mask in checked(merged, wanted).values())
    return Merged(merged, wanted)


def lora_sparsity(
    model: nn.Module, example_inputs: Any = None, masks: Mapping[str, Any] | None = None, *,
    kwargs: Mapping[str, Any] | None = None,
) -> Sparsity:  # fmt: skip
    """Direct and effective sparsity that the model would have after `merge_lora`; the model is not changed.

    Args:
        model, masks: as for `merge_lora`.
        example_inputs, kwargs: what the model's forward takes.

    Returns:
        As `graphsparse.sparsity`, by the names of the base model.
    """
    return sparsity(export(merge_lora(copy.deepcopy(model), masks).model, example_inputs, kwargs=kwargs))

"""A checkpoint's weights and masks put on a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import Network, network_of
from graphsparse.capture.sharing import Shared, shared
from graphsparse.checkpoints import Checkpoint
from graphsparse.checkpoints.names import unknown
from graphsparse.kernels.masks import Mask
from graphsparse.networks.fitting import check_fit, told
from graphsparse.networks.models import Model, parameter_names


def load_model(model: Model, checkpoint: Checkpoint) -> Network:
    """Put a checkpoint's weights on a model, dropped ones as zeros. Raises ModelError where the two do not fit."""
    notes = []
    masks = {name: Mask.of(mask.numpy()) for name, mask in checkpoint.masks.items()}
    found = Shared(masks, {})
    if any(name in checkpoint.weights for name in masks):
        found = by_parameter(model, masks, checkpoint.by_zeros)
    if checkpoint.weights:
        _fit(model, zeroed(checkpoint, found.masks, parameter_names(model)), checkpoint.place)
    else:
        notes = told(model, checkpoint.masks, unknown(checkpoint.ignored))
    return replace(
        network_of(model), masks=found.masks if checkpoint.form != "zeros" else {}, weights=checkpoint.weights,
        notes=(*checkpoint.notes, *notes), uses=found.uses, by_zeros=checkpoint.by_zeros,
    )  # fmt: skip


def by_parameter(model: Model, masks: Mapping[str, Mask], by_zeros: frozenset[str]) -> Shared:
    """The masks of a state dict by the model's parameters: where it masks only some uses of one, those have their own."""
    return shared(masks, parameter_names(model), masks.keys() - by_zeros)


def _fit(model: nn.Module | ExportedProgram, weights: Mapping[str, torch.Tensor], place: str) -> None:
    check_fit(model, {name: tensor.shape for name, tensor in weights.items()}, place)
    if isinstance(model, ExportedProgram):
        names = parameter_names(model)
        first = {names.get(name, name): tensor for name, tensor in weights.items()}
        whole = {**first, **{name: first[parameter] for name, parameter in names.items()}}  # what is tied stays tied
        made = {id(tensor): _as_held(tensor, model.state_dict.get(name)) for name, tensor in whole.items()}
        model.state_dict.update({name: made[id(tensor)] for name, tensor in whole.items()})
    else:
        model.load_state_dict(dict(weights), strict=False)  # tied ones may be there once


def _as_held(tensor: torch.Tensor, held: torch.Tensor | None) -> torch.Tensor:
    """A tensor as what a program holds under its name: torch takes programs apart only where parameters are parameters."""
    return nn.Parameter(tensor, requires_grad=held.requires_grad) if isinstance(held, nn.Parameter) else tensor


def zeroed(checkpoint: Checkpoint, masks: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors with zeros where masks drop them; ``names`` are the masks' names for the tensors."""

    def alone(weight: torch.Tensor, mask: Any) -> torch.Tensor:
        return (
            weight
            if mask is None
            else torch.where(torch.from_numpy(np.asarray(mask)), weight, torch.zeros((), dtype=weight.dtype))
        )

    return {name: alone(weight, masks.get(names.get(name, name))) for name, weight in checkpoint.weights.items()}

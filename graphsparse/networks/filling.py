"""A checkpoint's weights and masks put on a model. Where the two do not fit, it is said what either has more than the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import Network, network_of
from graphsparse.capture.parameters import Shared, shared
from graphsparse.checkpoints import Checkpoint
from graphsparse.checkpoints.names import shown, unknown
from graphsparse.errors import ModelError
from graphsparse.kernels.masks import Mask
from graphsparse.networks.models import Model, named_tensors, parameter_names, parameters_of

EXTRA = "not in the model"
PER_PARAMETER = 28
"""Bytes that running a model takes for each parameter: itself in single precision; a copy, gradients and scores in double."""


def load_model(model: Model, checkpoint: Checkpoint) -> Network:
    """Put a checkpoint's weights on a model, dropped ones as zeros. Raises ModelError where the two do not fit."""
    notes = []
    masks = {name: Mask.of(mask.numpy()) for name, mask in checkpoint.masks.items()}
    found = Shared(masks, {})
    if any(name in checkpoint.weights for name in masks):
        found = by_parameter(model, masks, checkpoint.by_zeros)
    if checkpoint.weights:
        _fill(model, zeroed(checkpoint, found.masks, parameter_names(model)), checkpoint.place)
    else:
        notes = differences(model, checkpoint.masks, unknown(checkpoint.ignored))
    return replace(
        network_of(model), masks=found.masks if checkpoint.form != "zeros" else {}, weights=checkpoint.weights,
        notes=(*checkpoint.notes, *notes), uses=found.uses, by_zeros=checkpoint.by_zeros,
    )  # fmt: skip


def by_parameter(model: Model, masks: Mapping[str, Mask], by_zeros: frozenset[str]) -> Shared:
    """The masks of a state dict by the model's parameters. Uses of a parameter that are masked further have their own."""
    return shared(masks, parameter_names(model), masks.keys() - by_zeros)


def zeroed(checkpoint: Checkpoint, masks: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors with zeros where masks drop them; ``names`` are the masks' names for the tensors."""

    def masked(name: str, weight: torch.Tensor) -> torch.Tensor:
        mask = masks.get(names.get(name, name))
        zero = torch.zeros((), dtype=weight.dtype)
        return weight if mask is None else torch.where(torch.from_numpy(np.asarray(mask)), weight, zero)

    return {name: masked(name, weight) for name, weight in checkpoint.weights.items()}


def _fill(model: Model, weights: Mapping[str, torch.Tensor], place: str) -> None:
    check_fit(model, {name: tensor.shape for name, tensor in weights.items()}, place)
    if not isinstance(model, ExportedProgram):
        model.load_state_dict(dict(weights), strict=False)  # tied ones may be there once
        return
    names = parameter_names(model)
    given = {names.get(name, name): tensor for name, tensor in weights.items()}
    for name, tensor in given.items():
        held = model.state_dict.get(name)
        if isinstance(held, nn.Parameter):  # torch takes a program apart only where these stay what they are
            given[name] = nn.Parameter(tensor, requires_grad=held.requires_grad)
    tied = {name: given[first] for name, first in names.items()}
    model.state_dict.update({**given, **tied})


def check_fit(model: Model, shapes: Mapping[str, Sequence[int]], place: str) -> None:
    """Raises ModelError where tensors of these shapes are not those of a model; tied ones may be there once."""
    own = _state_of(model)
    covered = _tied(model, shapes)
    missing, extra = [name for name in own if name not in covered], [name for name in shapes if name not in own]
    both = [(name, tuple(shapes[name]), tuple(own[name].shape)) for name in own if name in shapes]
    wrong = [f"{name} {shape} for {wanted}" for name, shape, wanted in both if shape != wanted]
    if missing or extra or wrong:
        raise _misfit(place, {"missing": missing, EXTRA: extra, "of another shape": wrong})


def check_masked(model: Model, masks: Iterable[str], ignored: Mapping[str, str], place: str) -> None:
    """Raises ModelError where a model without weights has a kernel without a mask: nothing says what it keeps."""
    if lacking := _unmasked(model, masks):
        raise _misfit(place, {"missing": lacking, EXTRA: unknown(ignored)})


def _misfit(place: str, sides: Mapping[str, Sequence[str]]) -> ModelError:
    """The error of a checkpoint that is not its model's; ``sides`` are lists of names by what is wrong with them."""
    wrong = {what: names for what, names in sides.items() if names}
    way_out = "name the model that the checkpoint was saved from"
    if list(wrong) == [EXTRA]:
        way_out = f"leave it out: ignore={wrong[EXTRA][0]!r}"
    received = "; ".join(f"{what}: {shown(names)}" for what, names in wrong.items())
    return ModelError(
        "a checkpoint must have the tensors of its model", place=place, received=received, way_out=way_out
    )


def differences(
    model: Model, masks: Iterable[str], extra: Sequence[str], biases: Iterable[str] | None = None
) -> list[str]:
    """Notes on what a file of masks and a model do not have in common.

    ``extra``: what the file has and the model has not. ``biases``: all names in the file, if it has weights; then there is
    a note on the model's biases and scales that are not among them.
    """
    notes = []
    if lacking := _unmasked(model, masks):
        notes.append(f"Without a mask in the file, counted as wholly kept: {shown(lacking)}.")
    if extra:
        notes.append(f"In the file, not in the model: {shown(extra)}.")
    covered = None if biases is None else _tied(model, biases)
    parameters = parameters_of(model).items()
    if covered is not None and (lost := [n for n, each in parameters if each.dim() < 2 and n not in covered]):
        notes.append(f"Not in the file, taken as not zero: {shown(lost)}.")
    return notes


def _unmasked(model: Model, masks: Iterable[str]) -> list[str]:
    covered = _tied(model, masks)
    return [name for name, tensor in parameters_of(model).items() if tensor.dim() > 1 and name not in covered]


def strangers(model: Model, ignored: Mapping[str, str], others: Iterable[str]) -> list[str]:
    """The file's tensors that the model does not have, buffers and biases too."""
    own = _state_of(model)
    return list(dict.fromkeys([*unknown(ignored), *(name for name in others if name not in own)]))


def _tied(model: Model, names: Iterable[str]) -> set[str]:
    """The names, and all others of the same parameters."""
    parameters, names = parameters_of(model), set(names)
    same = {id(parameters[name]) for name in names if name in parameters}
    return names | {name for name, parameter in parameters.items() if id(parameter) in same}


def _state_of(model: Model) -> Mapping[str, torch.Tensor]:
    return model.state_dict if isinstance(model, ExportedProgram) else model.state_dict()


def bytes_to_run(network: Network) -> int:
    """About how much memory a method that runs the model takes."""
    unique = {id(tensor): tensor.numel() for tensor in parameters_of(network.model).values()}
    return PER_PARAMETER * sum(unique.values())


def with_weights(network: Network) -> Network:
    """The same network on the CPU with the checkpoint's weights, ready to run. Tensors are read one by one.

    Raises ModelError where the checkpoint has no weights, or the model with them does not fit into memory.
    """
    needed, free = bytes_to_run(network), available_memory()
    if network.rebuild is None or not network.weights:
        raise ModelError(
            "a method that runs the model must have its weights", received="a model without weights and masks alone",
            way_out="name a checkpoint with weights",
        )  # fmt: skip
    if needed > free:
        raise ModelError(
            "a method that runs the model must have it in memory", received=f"about {size(needed)} needed, {size(free)} free",
            way_out="use random, magnitude or lamp, which read one weight after the other",
        )  # fmt: skip
    model, kwargs = network.rebuild(device="cpu")
    with torch.no_grad():
        for name, tensor in named_tensors(model):
            if name in network.weights:
                tensor.copy_(network.weights[name])
    given = network.kwargs if network.has_inputs else kwargs or {}
    inputs = {
        name: torch.zeros(value.shape, dtype=value.dtype)
        if isinstance(value, torch.Tensor) and value.is_meta
        else value
        for name, value in given.items()
    }
    return replace(network, model=model, kwargs=inputs, stand_in=False)


def available_memory() -> int:
    """Bytes that this machine can give without swapping; a number beyond any memory where it does not tell."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 1 << 62


def size(count: int) -> str:
    """A number of bytes as people read it."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"

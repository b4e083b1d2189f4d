"""Checkpoint files: read and written without ever running what is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from graphsparse.checkpoints.archives import open_archive, safetensors, torch_file
from graphsparse.checkpoints.archives.pending import ready
from graphsparse.checkpoints.atomic import replacing
from graphsparse.checkpoints.forms import FORMS
from graphsparse.checkpoints.names import state_dict
from graphsparse.errors import CheckpointError, MaskError

__all__ = ["FORMS", "Checkpoint", "read_checkpoint", "read_masks", "write_checkpoint"]

Source = str | os.PathLike[str] | Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds, under the model's own names.

    ``masks``: bool tensors, True = kept. ``weights``: every tensor, without pruning reparametrisation and not masked.
    ``form``: the name of the form it was read in. ``place``: the file, for messages.
    """

    masks: dict[str, torch.Tensor]
    weights: dict[str, torch.Tensor]
    form: str
    place: str


def read_checkpoint(source: Source, *, form: str | None = None) -> Checkpoint:
    """Read a state dict or a file of one: torch.save (``weights_only=True``), safetensors.

    The form is recognised from the content, or named by ``form`` ("prune", "zeros").

    Raises:
        CheckpointError: the file is not there, damaged, holds no tensors by name, or would have to run code.
        MaskError: a mask in it does not fit its weight, or is not binary.
    """
    place = "the state dict" if isinstance(source, Mapping) else str(source)
    tensors = state_dict(source if isinstance(source, Mapping) else open_archive(source).content, place)
    if form is not None and form not in FORMS:
        raise CheckpointError("a form is one of " + ", ".join(FORMS), place=place, received=repr(form))
    chosen = FORMS[form] if form else next(each for each in FORMS.values() if each.recognise(tensors))
    masks, weights = chosen.read(tensors)
    return Checkpoint(masks, weights, chosen.NAME, place)


def read_masks(source: Source, *, form: str | None = None) -> dict[str, torch.Tensor]:
    """The masks of a checkpoint, ``{parameter name: bool tensor}``, True = kept.

    ``X_orig`` with ``X_mask`` (torch.nn.utils.prune) are masks; every other floating tensor of two axes or more is
    masked by its zeros. Wrappers (``state_dict``, ``model``, ...) and prefixes (``module.``, ``_orig_mod.``) are taken
    off. Errors as `read_checkpoint`.

    Example:
        >>> read_masks({"fc.weight": torch.tensor([[1.0, 0.0]])})
        {'fc.weight': tensor([[ True, False]])}
    """
    return read_checkpoint(source, form=form).masks


def write_checkpoint(
    path: str | os.PathLike[str], weights: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor], *, form: str
) -> None:
    """Write weights under masks to a file, in one step: a killed write leaves the old file.

    A name that ends in ``.safetensors`` is written as that, any other by torch.save. ``form`` is "zeros" or "prune".

    Raises:
        CheckpointError: the folder is not writable or the form unknown. MaskError: a mask without a weight of its shape.
    """
    if form not in FORMS:
        raise CheckpointError("a form is one of " + ", ".join(FORMS), place=str(path), received=repr(form))
    for name, mask in masks.items():
        if name not in weights or weights[name].shape != mask.shape:
            shape = tuple(weights[name].shape) if name in weights else "no such weight"
            raise MaskError("a mask has a weight of its shape", place=name, received=f"{tuple(mask.shape)} for {shape}")
    tensors = {name: ready(tensor.detach().cpu()) for name, tensor in FORMS[form].write(weights, masks).items()}
    writer = safetensors if Path(path).suffix == ".safetensors" else torch_file
    with replacing(path) as file:
        writer.write(file, tensors, {"format": "pt"} if writer is safetensors else {})

"""Masks into files: any form that is written, in one step, the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch

from graphsparse.checkpoints.archives import numpy_file, safetensors, torch_file
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.atomic import check_writable, is_special, replacing
from graphsparse.checkpoints.boundary import check, refusing
from graphsparse.checkpoints.checks import check_binary, check_same_shape, nonzero
from graphsparse.checkpoints.content import WHOLE, Part
from graphsparse.checkpoints.forms import FORMS, Form
from graphsparse.checkpoints.opening import Source, open_checkpoint
from graphsparse.checkpoints.reading import Checkpoint, read_checkpoint, read_opened, tell_partial
from graphsparse.errors import MaskError

Writer = Callable[[BinaryIO, Mapping[str, Pending], Mapping[str, str]], None]

_CONTAINERS: Mapping[str, tuple[Writer, tuple[str, ...]]] = {
    "safetensors": (safetensors.write, (".safetensors",)),
    "torch": (torch_file.write, (".pt", ".pth", ".bin", ".ckpt")),
    "npz": (numpy_file.write_npz, (".npz",)),
}
"""{kind of file: (its writer, the endings of its names)}."""


def written_forms() -> tuple[str, ...]:
    """Returns the names of the forms that can be written."""
    return tuple(name for name, form in FORMS.items() if form.write is not None)


def write_masks_file(
    path: str | os.PathLike[str],
    masks: Mapping[str, Any],
    *,
    form: str,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Writes masks to a file, in one step: killed at any moment it leaves the old file or the new one.

    Args:
        path: the file; its ending chooses the container where a form has several (``.pt`` or ``.safetensors``).
        masks: {parameter: bool tensor, or zeros and ones}, True = kept.
        form: one of ``written_forms()``: zeros, prune, parametrization and sparse-bitmask hold the weights too;
            bits, openlth and csr hold masks alone (csr the kept values, where weights are given).
        weights: {parameter or buffer: tensor}, all of the state dict; those without a mask are written as they are.

    Raises:
        CheckpointError: the form is not written or not to such a file, or the path cannot be written.
        MaskError: a mask is not binary, names no weight, is not of its shape, or the form wants weights.

    Example:
        >>> write_masks_file("masks.safetensors", {"fc.weight": torch.eye(3) > 0}, form="bits")
    """
    check(bool(masks), "a file of masks must hold a mask", str(path), "none", None, MaskError)
    write_checkpoint(path, weights or {}, masks, form=form)


def write_checkpoint(
    path: str | os.PathLike[str], weights: Mapping[str, torch.Tensor], masks: Mapping[str, Any], *, form: str
) -> None:
    """Writes a state dict with its masks, as ``write_masks_file`` does; there may be no masks."""
    chosen = _written_form(form)
    write, _ = _CONTAINERS[_container(Path(path), chosen)]
    with refusing(os.fspath(path)):
        payload = chosen.write(_checked(masks, weights, chosen), weights)  # type: ignore[misc]
    tensors = {name: replace(pending, make=partial(_made, pending, name)) for name, pending in payload.tensors.items()}
    with replacing(path) as file:
        write(file, tensors, payload.metadata)


def _made(pending: Pending, name: str) -> torch.Tensor:
    with refusing(name):
        return pending.make()


def check_target(path: str | os.PathLike[str], form: str) -> None:
    """Raises what writing to this path in this form would, before there is anything to write."""
    _container(Path(path), _written_form(form))
    check_writable(path)


def endings(form: str) -> tuple[str, ...]:
    """Returns the endings of the files that a form is written to, the usual one first."""
    return tuple(ending for each in FORMS[form].containers for ending in _CONTAINERS[each][1])


def convert(
    source: Source,
    path: str | os.PathLike[str],
    to: str,
    *,
    form: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    by_order: bool = False,
    weights: Source | None = None,
    part: Part = WHOLE,
) -> Checkpoint:
    """Writes a checkpoint's masks in another form, and returns what was read (with what was left out of it).

    All of the source is read, so its check sums are compared where its kind of file has some.

    Args:
        source, form, parameters, by_order: as for ``read_checkpoint``.
        path, to: as path and form of ``write_masks_file``.
        weights: a checkpoint with the weights, where the source holds masks alone and the new form holds weights.
        part: which of the source's tensors are meant.
    """
    found = open_checkpoint(source, form=form, parameters=parameters, by_order=by_order, part=part)
    found.archive.check_sums()
    checkpoint = read_opened(found)
    tell_partial(checkpoint, parameters)
    dense = checkpoint.weights if weights is None else read_checkpoint(weights, parameters=parameters).weights
    write_masks_file(path, checkpoint.masks, form=to, weights=dense)
    return checkpoint


def _written_form(name: str) -> Form:
    received = f"{name!r}, which is only read" if name in FORMS else repr(name)
    way_out = f"use one of {', '.join(written_forms())}"
    check(name in written_forms(), "the form must be one that is written", None, received, way_out)
    return FORMS[name]


def _container(path: Path, form: Form) -> str:
    """The kind of file to write: what the ending says; the form's usual one for a name without an ending, or a pipe."""
    usual = "" if path.suffix and not is_special(path) else form.containers[0]
    wanted = next((kind for kind, (_, ends) in _CONTAINERS.items() if path.suffix.lower() in ends), usual)
    check(wanted in form.containers, "the name of a file must end as its form does", str(path), f"the form {form.name}",
          f"end the name in {' or '.join(endings(form.name))}")  # fmt: skip
    return wanted


def _checked(masks: Mapping[str, Any], weights: Mapping[str, torch.Tensor], form: Form) -> dict[str, torch.Tensor]:
    complete = bool(weights or not masks) or not form.needs_weights
    way_out = "give weights=, those of the model, or write one of the forms of masks alone: bits, openlth, csr"
    rule = f"a file of the form {form.name} must hold the weights too"
    check(complete, rule, None, "masks alone", way_out, MaskError)
    checked = {name: nonzero(check_binary(torch.as_tensor(mask), name)).detach() for name, mask in masks.items()}
    for name, mask in checked.items() if weights else ():
        check(name in weights, "a mask must have a weight of its shape", name, "no such weight",
              "leave the mask out, or give its weight", MaskError)  # fmt: skip
        check_same_shape(mask.shape, weights[name].shape, name)
    return checked

"""OpenLTH: ``mask.pth``, a table {parameter: zeros and ones}; and models with buffers ``mask_<parameter, ___ for .>``."""

from __future__ import annotations

from functools import partial

import torch

from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import (
    Form,
    Masked,
    Masks,
    Payload,
    Reading,
    Weights,
    mask_entry,
    masked_reading,
)

_PREFIX = "mask_"
_MODEL = "model."  # OpenLTH's PrunedModel holds the model under this name; the masks name parameters without it

_MASK_TYPES = {torch.bool, torch.uint8, torch.int32, torch.int64, torch.int16}


def recognise(content: Content) -> bool:
    """Whether every tensor is of a type that no weight has, whatever its values. A table of floating zeros and ones
    is read as weights instead: the masks of its kernels are the same, and it may be weights."""
    return bool(content.tensors) and all(tensor.dtype in _MASK_TYPES for tensor in content.tensors.values())


def read(content: Content, request: Request) -> Reading:
    entries = {name: mask_entry(mask, content, name) for name, mask in content.tensors.items()}
    return Reading(entries, {}, content.ignored)


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the masks as 32-bit integers of 0 and 1, as OpenLTH does."""
    return Payload(
        {name: Pending(tuple(m.shape), torch.int32, partial(m.to, torch.int32)) for name, m in masks.items()}
    )


OPENLTH = Form("openlth", "OpenLTH's mask.pth: {parameter: zeros and ones}", recognise, read, write, ("torch",))


def _buffers(content: Content) -> Masked:
    masked: dict[str, tuple[str, str | None]] = {}
    for key in content.tensors:
        name = key.removeprefix(_PREFIX).replace("___", ".")
        if key.startswith(_PREFIX) and "." not in key:
            weight = next((each for each in (_MODEL + name, name) if each in content.tensors), None)
            if weight is not None:
                masked[name] = (key, weight)
    return masked


def read_model(content: Content, request: Request) -> Reading:
    masked = _buffers(content)
    reading = masked_reading(content, masked)
    inner = any(weight is not None and weight.startswith(_MODEL) for _, weight in masked.values())
    cut = _MODEL if inner else ""
    entries = {name.removeprefix(cut): entry for name, entry in reading.entries.items()}
    others = {name.removeprefix(cut): make for name, make in reading.others.items()}
    return Reading(entries, others, reading.ignored)


OPENLTH_MODEL = Form(
    "openlth-model", "OpenLTH's pruned model: buffers mask_<parameter with ___ for .>", _buffers, read_model
)

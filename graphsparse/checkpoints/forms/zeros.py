"""Plain weights, state dicts and exported programs alike: what is zero is pruned."""

from __future__ import annotations

import json
import warnings
from functools import partial

import torch

from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.checks import nonzero
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import LISTED_AS, Form, Masks, Payload, Reading, Weights, zeros_reading


class ReadsAsPruned(UserWarning):
    """Kept weights are exactly zero: where the zeros are the mask they are pruned for whoever reads the file."""


def read(content: Content, request: Request) -> Reading:
    reading = zeros_reading(content, content.tensors)
    return Reading(reading.entries, reading.others, {**content.ignored, **reading.ignored})


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the weights with zeros where the masks prune; a NaN that is pruned becomes zero too.

    Warns where a kept weight is exactly zero: no reader of this form can tell it from a pruned one.
    """
    tensors = {name: ready(weight) for name, weight in weights.items() if name not in masks}
    for name, mask in masks.items():
        weight = weights[name]
        tensors[name] = Pending(tuple(weight.shape), weight.dtype, partial(zeroed, weight, mask, name))
    return Payload(tensors, {"format": "pt", LISTED_AS: json.dumps(list(masks))})


def zeroed(weight: torch.Tensor, mask: torch.Tensor, name: str) -> torch.Tensor:
    """Returns the weight with zeros where the mask is False, every other value as it is."""
    lost = int((mask & ~nonzero(weight)).sum())
    if lost:
        text = f"{name}: {lost:,} kept connections are exactly zero and will read as pruned"
        warnings.warn(text, ReadsAsPruned, stacklevel=2)
    return torch.where(mask, weight, torch.zeros((), dtype=weight.dtype))


ZEROS = Form(
    "zeros", "weights whose zeros are the mask: state dicts, safetensors, pt2", lambda content: content.tensors, read, write,
    ("safetensors", "torch"), needs_weights=True,
)  # fmt: skip

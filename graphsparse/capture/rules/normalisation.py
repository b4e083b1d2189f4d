"""Normalisations: each unit passes through; weights scale, shifts lift zero to a constant."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.values import Known, Units, Weight

aten = torch.ops.aten


def affine(call: Call, value: Units, weight, bias, axis: int | None = None) -> Units:
    """Scale and shift by parameters along a channel axis (trailing axes where None)."""
    if isinstance(weight, Weight):
        value = call.draft.scale(value, along(weight, value, axis))
    if isinstance(bias, Weight):
        value = call.draft.lift(value, along(bias, value, axis))
    return value


def along(weight: Weight, value: Units, axis: int | None) -> Weight:
    """A parameter of one entry per channel as it broadcasts against the value."""
    if axis is None:
        return weight
    return Weight(weight.name, weight.view.reshape(-1, *[1] * (value.ids.dim() - axis - 1)), weight.transformed)


def batch_norm(call: Call, value: Units, weight, bias, mean, variance, *rest):
    """At inference: a fixed scale and a fixed shift, without statistics of the input."""
    axis = 1 if value.ids.dim() > 1 else 0
    if isinstance(mean, Known):
        moved = call.ids(mean).reshape(-1, *[1] * (value.ids.dim() - axis - 1)) != 0
        value = call.draft.lift(value, where=moved.expand(value.shape))
    return affine(call, value, weight, bias, axis), None, None


RULES = {
    aten._native_batch_norm_legit_no_training.default: batch_norm,
}

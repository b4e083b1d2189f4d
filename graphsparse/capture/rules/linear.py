"""Fully connected layers: a parameter times the last axis, its weights shared over all other axes."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Units, Weight
from graphsparse.kernels.columns import Taps

aten = torch.ops.aten


def linear(call: Call, value: Units, weight: Weight, bias: Weight | None = None):
    """value (..., inputs) times weight (outputs, inputs)."""
    (ids,), _ = collapse(value.ids.movedim(-1, 0))
    ids = ids.expand(value.shape[-1], *ids.shape[1:])  # inputs that are one unit still have a connection each
    lead = ids.shape[1:]
    out = dense(call, ids.reshape(1, ids.size(0), -1), weight, weight.view.unsqueeze(0), bias)
    out = out[0].reshape(-1, *(lead if out.size(2) > 1 else [1] * len(lead)))
    return Units(out.movedim(0, -1).expand(call.shape), True)


def dense(call: Call, sources: torch.Tensor, weight: Weight, grouped: torch.Tensor, bias=None) -> torch.Tensor:
    """The units (groups, outputs, positions) of a kernel (groups, outputs, inputs) over sources (groups, inputs, positions).

    In channel resolution the positions are one.
    """
    if not call.draft.unrolled:
        groups, inputs, _ = sources.shape
        sources = call.draft.join(sources.reshape(groups * inputs, -1)).reshape(groups, inputs, 1)
    positions = sources.size(2)
    return call.draft.kernel(weight, grouped, sources, Taps.of(np.arange(positions)[None], positions), bias)


RULES = {aten.linear.default: linear}

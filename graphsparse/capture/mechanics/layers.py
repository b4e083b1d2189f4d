"""The layer of units that a kernel feeds from groups of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.connecting import feed
from graphsparse.capture.values import Weight
from graphsparse.capture.wiring import join
from graphsparse.kernels.layout import Taps


def dense(call: Call, sources: torch.Tensor, weight: Weight, kernel: torch.Tensor, bias: Any = None) -> torch.Tensor:
    """The units (groups, outputs, positions) of a kernel (groups, outputs, inputs) over sources (groups, inputs, positions).

    In channel resolution the positions are one.
    """
    if not call.unrolled:
        groups, inputs, _ = sources.shape
        sources = join(call.draft, sources.reshape(groups * inputs, -1)).reshape(groups, inputs, 1)
    positions = sources.size(2)
    return feed(call.draft, weight, kernel, sources, Taps.of(np.arange(positions)[None], positions), bias)


def grouped(layout: torch.Tensor) -> torch.Tensor:
    """A layout (..., outputs, inputs) with its leading axes as one; by entries where strides cannot say it."""
    sizes = (-1, *layout.shape[-2:])
    try:
        return layout.view(sizes) if layout.dim() > 2 else layout.unsqueeze(0)
    except RuntimeError:
        return (Weight("", layout).index if layout.is_meta else layout).reshape(sizes)

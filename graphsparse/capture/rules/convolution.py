"""Convolutions of one to three axes, with stride, dilation, groups, every padding, transposed or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.arithmetic import biased, parted, per_channel
from graphsparse.capture.mechanics.windows import convolution_table, over_all_axes, per_axis
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Known, Units, Value, Weight
from graphsparse.capture.wiring import feed, join
from graphsparse.kernels.layout import Taps


@dataclass(frozen=True)
class Window:
    """How a kernel goes over positions: one number for each axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool

    def table(self, sizes: torch.Size, out: torch.Size, kernel: torch.Size) -> np.ndarray:
        """Which position each tap reads at each output position, (taps, positions)."""
        return convolution_table(sizes, out, kernel, self.stride, self.padding, self.dilation, self.transposed)

    def grouped(self, weight: torch.Tensor) -> torch.Tensor:
        """A weight as (groups, rows, channels, *taps); a transposed one is stored channels first."""
        split = weight.unflatten(0, (self.groups, -1))
        return split.transpose(1, 2) if self.transposed else split


def convolution(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Every convolution of torch, of a value (batch, channels, *space) or (channels, *space).

    The batch is more positions of the same channels.
    """
    given = call.named(args, kwargs)
    value, weight, bias = (given[name] for name in ("input", "weight", "bias"))
    axes = len(weight.shape) - 2
    stride, dilation, padding = (given[name] for name in ("stride", "dilation", "padding"))
    stride, dilation = per_axis(stride, axes), per_axis(dilation, axes)
    if isinstance(padding, str):
        spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = [span // 2 if padding == "same" else 0 for span in spans]
    transposed = given.get("transposed", "transpose" in call.target._schema.name)
    window = Window(stride, per_axis(padding, axes), dilation, given["groups"], transposed)
    ids = call.ids(value)
    ids = ids if ids.dim() > axes + 1 else ids.unsqueeze(0)
    if not isinstance(weight, Weight):
        assert isinstance(value, Units), "a kernel that is no parameter over constants is computed, not ruled"
        return biased(call, by_numbers(call, ids, weight, window), per_channel(bias, axes))
    inside, after = parted(bias)
    made = by_weight(call, ids, weight, inside, window)
    if weight.lifted and isinstance(value, Units):
        made = call.union([made, by_numbers(call, ids, Known.of_shape(weight.shape), window)])
    return biased(call, made, per_channel(after, axes))


def by_weight(call: Call, ids: torch.Tensor, weight: Weight, bias: Any, window: Window) -> Units:
    """The layer of a parameter: one connection per entry."""
    sizes, out, taps = ids.shape[2:], call.shape[2 - weight.view.dim() :], weight.shape[2:]
    channels, groups = ids.size(1), window.groups
    (small,), _ = collapse(ids)
    if call.unrolled:
        batch, space = small.size(0), out
        sources = small.expand(batch, channels, *sizes).transpose(0, 1).reshape(groups, channels // groups, -1)
        table = window.table(sizes, out, taps)
        if batch > 1:  # samples side by side are one more axis
            table = over_all_axes([np.arange(batch)[None], table], [batch, sizes.numel()])
        reads = Taps.of(table, sources.size(2))
    else:
        batch, space = 1, torch.Size([1] * len(out))
        every = small.expand(small.size(0), channels, *small.shape[2:]).transpose(0, 1).reshape(channels, -1)
        sources = join(call.draft, every).reshape(groups, -1, 1)
        reads = Taps.of(np.zeros((taps.numel(), 1)), 1)
    made = feed(call.draft, weight, window.grouped(weight.layout), sources, reads, bias)
    made = made.reshape(-1, batch, *space).transpose(0, 1).expand(ids.size(0), -1, *out)
    return Units(made.reshape(call.shape))


def by_numbers(call: Call, ids: torch.Tensor, weight: Value, window: Window) -> Units:
    """A kernel that is no parameter: wires where its numbers are not zero (blurs, filter banks), else from everywhere."""
    sizes, out = ids.shape[2:], call.shape[2 - len(weight.shape) :]
    if isinstance(weight, Known) and weight.known:
        kept = weight.tensor != 0
    else:
        call.say_conservative("every entry of a kernel that is computed is taken as not zero")
        kept = torch.ones(weight.shape, dtype=torch.bool)
    table = torch.from_numpy(window.table(sizes, out, weight.shape[2:]) + 1)
    (small,), _ = collapse(ids)
    flat = small.expand(small.size(0), *ids.shape[1:]).flatten(2).unflatten(1, (window.groups, -1))
    seen = torch.nn.functional.pad(flat, (1, 0))[..., table.long()]  # (batch, groups, channels, taps, positions)
    made = [
        call.united(seen[:, group][:, row].movedim(1, -1)) if row.any() else torch.zeros_like(seen[:, 0, 0, 0])
        for group, pattern in enumerate(window.grouped(kept).flatten(3))
        for row in pattern
    ]
    result = Units(torch.stack(made, 1).unflatten(-1, out).expand(ids.size(0), -1, *out))
    if isinstance(weight, Units):  # each result also depends on all of the kernel
        result = call.union([result, Units(call.united(weight.ids.reshape(-1)).expand(result.shape))])
    return Units(result.ids.reshape(call.shape))


NAMES = """
    conv1d conv2d conv3d conv1d.padding conv2d.padding conv3d.padding convolution
    conv_transpose1d conv_transpose2d.input conv_transpose3d.input
"""
RULES: dict[Any, Rule] = rows(NAMES, Rule(convolution, kernel_at=1, flows="layer"))

"""Convolutions of one to three axes, with stride, dilation, groups, every padding, transposed or not."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Units, Weight
from graphsparse.capture.windows import convolution_table, per_axis
from graphsparse.kernels.columns import Taps

aten = torch.ops.aten


def convolve(call: Call, value: Units, weight: Weight, bias, stride, padding, dilation, groups: int, transposed: bool):
    """value (batch, channels, *space) or (channels, *space); the batch is more positions of the same channels."""
    axes = weight.view.dim() - 2
    ids = value.ids if value.ids.dim() > axes + 1 else value.ids.unsqueeze(0)
    sizes, out = tuple(ids.shape[2:]), tuple(call.shape[-axes:])
    (small,), _ = collapse(ids)
    batch = small.size(0)
    kernel = kernel_view(weight.view, groups, transposed)
    sources = small.expand(batch, ids.size(1), *sizes).transpose(0, 1).reshape(groups, ids.size(1) // groups, -1)
    if call.draft.unrolled:
        table = convolution_table(
            sizes, out, tuple(weight.shape[2:]), stride, padding, dilation, transposed
        )
        bias_units = call.draft.kernel(weight, kernel, sources, Taps.of(per_sample(table, batch, sizes), sources.size(2)), bias)
        made = bias_units.reshape(-1, batch, *out).transpose(0, 1)
    else:
        every = small.expand(batch, ids.size(1), *small.shape[2:]).transpose(0, 1).reshape(ids.size(1), -1)
        joined = call.draft.join(every).reshape(groups, -1, 1)
        taps = Taps.of(np.zeros((int(np.prod(weight.shape[2:])), 1)), 1)
        made = call.draft.kernel(weight, kernel, joined, taps, bias).reshape(1, -1, *[1] * axes)
    made = made.expand(ids.size(0), -1, *out)
    return Units(made.reshape(call.shape) if ids is not value.ids else made, True)


def kernel_view(view: torch.Tensor, groups: int, transposed: bool) -> torch.Tensor:
    """The weight as (groups, rows, channels, *taps); a transposed one is stored channels first."""
    split = view.unflatten(0, (groups, -1))
    return split.transpose(1, 2) if transposed else split


def per_sample(table: np.ndarray, batch: int, sizes: tuple[int, ...]) -> np.ndarray:
    """The table for several samples side by side."""
    if batch == 1:
        return table
    shift = np.arange(batch)[None, :, None] * int(np.prod(sizes))
    return np.where(table[:, None] < 0, -1, table[:, None] + shift).reshape(table.shape[0], -1)


def forward(axes: int):
    """The rule of convNd."""

    def rule(call: Call, value, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        stride, dilation = per_axis(stride, axes), per_axis(dilation, axes)
        if isinstance(padding, str):
            spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = tuple(span // 2 if padding == "same" else 0 for span in spans)
        return convolve(call, value, weight, bias, stride, per_axis(padding, axes), dilation, groups, False)

    return rule


def backward(axes: int):
    """The rule of conv_transposeNd."""

    def rule(call: Call, value, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        stride, dilation = per_axis(stride, axes), per_axis(dilation, axes)
        return convolve(call, value, weight, bias, stride, per_axis(padding, axes), dilation, groups, True)

    return rule


def general(call: Call, value, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """aten.convolution, what a decomposed model holds."""
    axes = weight.view.dim() - 2
    settings = [per_axis(each, axes) for each in (stride, padding, dilation)]
    return convolve(call, value, weight, bias, *settings, groups, transposed)


RULES = {
    aten.conv1d.default: forward(1),
    aten.conv2d.default: forward(2),
    aten.conv3d.default: forward(3),
    aten.conv1d.padding: forward(1),
    aten.conv2d.padding: forward(2),
    aten.conv3d.padding: forward(3),
    aten.conv_transpose1d.default: backward(1),
    aten.conv_transpose2d.input: backward(2),
    aten.conv_transpose3d.input: backward(3),
    aten.convolution.default: general,
}

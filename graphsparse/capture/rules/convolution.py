"""Convolutions of one to three axes, with stride, dilation, groups, every padding, transposed or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.arithmetic import at_once, biased, per_channel
from graphsparse.capture.table import Rule
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Known, Sizes, Units, Value, Weight
from graphsparse.capture.windows import convolution_table, per_axis
from graphsparse.kernels.layout import Taps

aten = torch.ops.aten


def convolve(
    call: Call,
    value: Value,
    weight: Value,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    transposed: bool,
) -> Any:
    """value (batch, channels, *space) or (channels, *space); the batch is more positions of the same channels."""
    if not isinstance(weight, Weight):
        assert isinstance(value, Units), "a kernel that is no parameter over constants is computed, not ruled"
        made = by_numbers(call, value, weight, stride, padding, dilation, groups, transposed)
        return biased(call, made, per_channel(bias, len(weight.shape) - 2))
    inside = bias if at_once(bias) else None
    made = by_weight(call, call.ids(value), weight, inside, stride, padding, dilation, groups, transposed)
    if weight.lifted and isinstance(value, Units):
        added = Known.of_shape(weight.shape)
        made = call.union([made, by_numbers(call, value, added, stride, padding, dilation, groups, transposed)])
    return made if inside is bias else biased(call, made, per_channel(bias, weight.view.dim() - 2))


def by_weight(
    call: Call,
    ids: torch.Tensor,
    weight: Weight,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    transposed: bool,
) -> Units:
    """The layer of a parameter: one connection per entry."""
    axes, given = weight.view.dim() - 2, ids
    ids = ids if ids.dim() > axes + 1 else ids.unsqueeze(0)
    sizes, out = tuple(ids.shape[2:]), tuple(call.shape[-axes:])
    (small,), _ = collapse(ids)
    batch = small.size(0)
    kernel = kernel_view(weight.layout, groups, transposed)
    sources = small.expand(batch, ids.size(1), *sizes).transpose(0, 1).reshape(groups, ids.size(1) // groups, -1)
    if call.draft.unrolled:
        table = convolution_table(sizes, out, tuple(weight.shape[2:]), stride, padding, dilation, transposed)
        taps = Taps.of(per_sample(table, batch, sizes), sources.size(2))
        made = call.draft.kernel(weight, kernel, sources, taps, bias).reshape(-1, batch, *out).transpose(0, 1)
    else:
        every = small.expand(batch, ids.size(1), *small.shape[2:]).transpose(0, 1).reshape(ids.size(1), -1)
        joined = call.draft.join(every).reshape(groups, -1, 1)
        taps = Taps.of(np.zeros((int(np.prod(weight.shape[2:])), 1)), 1)
        made = call.draft.kernel(weight, kernel, joined, taps, bias).reshape(1, -1, *[1] * axes)
    made = made.expand(ids.size(0), -1, *out)
    return Units(made.reshape(call.shape) if ids is not given else made)


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


def by_numbers(
    call: Call,
    value: Units,
    weight: Value,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    transposed: bool,
) -> Units:
    """A kernel that is no parameter: wires where its numbers are not zero (blurs, filter banks), else from everywhere."""
    axes = len(weight.shape) - 2
    ids = value.ids if value.ids.dim() > axes + 1 else value.ids.unsqueeze(0)
    sizes, out = tuple(ids.shape[2:]), tuple(call.shape[-axes:])
    if isinstance(weight, Known) and weight.known:
        pattern = kernel_view(weight.tensor != 0, groups, transposed).flatten(3)
    else:
        call.say_conservative("every entry of a kernel that is computed is taken as not zero")
        pattern = kernel_view(torch.ones(weight.shape, dtype=torch.bool), groups, transposed).flatten(3)
    table = torch.from_numpy(
        convolution_table(sizes, out, tuple(weight.shape[2:]), stride, padding, dilation, transposed) + 1
    )
    (small,), _ = collapse(ids)
    flat = small.expand(small.size(0), *ids.shape[1:]).flatten(2).unflatten(1, (groups, -1))
    seen = torch.nn.functional.pad(flat, (1, 0))[..., table.long()]  # (batch, groups, channels, taps, positions)
    made = []
    for group, rows in enumerate(pattern):
        for row in rows:
            columns = seen[:, group][:, row].movedim(1, -1)
            made.append(call.draft.union(columns.reshape(-1, columns.size(-1))).reshape(columns.shape[:-1]) if row.any()
                        else torch.zeros(columns.shape[:-1], dtype=torch.int64))  # fmt: skip
    result = torch.stack(made, 1).unflatten(-1, out).expand(ids.size(0), -1, *out)
    if isinstance(weight, Units):
        result = every(call, result, weight)
    return Units(result.reshape(call.shape))


def every(call: Call, ids: torch.Tensor, weight: Units) -> torch.Tensor:
    """A kernel that an input moves: each result also depends on all of it."""
    whole = call.draft.union(weight.ids.reshape(1, -1)).expand(ids.shape)
    return call.union([Units(ids), Units(whole)]).ids


def forward(axes: int) -> Any:
    """The rule of convNd."""

    def rule(
        call: Call,
        value: Any,
        weight: Any,
        bias: Any = None,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
    ) -> Any:
        stride, dilation = per_axis(stride, axes), per_axis(dilation, axes)
        if isinstance(padding, str):
            spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = tuple(span // 2 if padding == "same" else 0 for span in spans)
        return convolve(call, value, weight, bias, stride, per_axis(padding, axes), dilation, groups, False)

    return rule


def backward(axes: int) -> Any:
    """The rule of conv_transposeNd."""

    def rule(
        call: Call,
        value: Any,
        weight: Any,
        bias: Any = None,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        dilation: Sizes = 1,
    ) -> Any:
        stride, dilation = per_axis(stride, axes), per_axis(dilation, axes)
        return convolve(call, value, weight, bias, stride, per_axis(padding, axes), dilation, groups, True)

    return rule


def general(
    call: Call,
    value: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> Any:
    """aten.convolution, what a decomposed model holds."""
    axes = len(weight.shape) - 2
    stride, padding, dilation = (per_axis(each, axes) for each in (stride, padding, dilation))
    return convolve(call, value, weight, bias, stride, padding, dilation, groups, transposed)


RULES: dict[Any, Rule] = {
    operation: Rule(rule, kernel_at=1, flows="layer")
    for operation, rule in {
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
    }.items()
}

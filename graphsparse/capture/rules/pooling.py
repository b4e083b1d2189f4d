"""Pooling: each result depends on the elements of its window; padding is no unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Known, Units
from graphsparse.capture.windows import adaptive_table, convolution_table, per_axis

aten = torch.ops.aten


def windowed(call: Call, value: Units, table: np.ndarray, out: tuple[int, ...]) -> Units:
    """One unit per channel and window; ``table`` (taps, windows) of positions among the last axes, -1 outside."""
    axes = len(out)
    (small,), _ = collapse(value.ids)
    lead = value.ids.shape[:-axes]
    if small.shape[-axes:].numel() == 1:  # a channel that is one unit stays that unit
        return Units(small.expand(*lead, *out))
    space = value.ids.shape[-axes:]
    flat = small.expand(*small.shape[:-axes], *space).reshape(-1, space.numel())
    padded = torch.cat([torch.zeros(len(flat), 1, dtype=flat.dtype), flat], 1)
    rows = padded[:, torch.from_numpy(table.T.copy() + 1)]
    ids = call.draft.union(rows.reshape(-1, table.shape[0])).reshape(*small.shape[:-axes], *out)
    return Units(ids.expand(*lead, *out))


def pool(axes: int, dilated: bool):
    """The rule of a pooling operation over that many axes."""

    def rule(call: Call, value: Units, kernel, stride=(), padding=0, *rest, **kwargs):
        kernel = per_axis(kernel, axes)
        dilation = per_axis(rest[0], axes) if dilated and rest else (1,) * axes
        stride = per_axis(stride, axes) if stride else kernel
        sizes, out = tuple(value.shape[-axes:]), tuple(call.shape[-axes:])
        table = convolution_table(sizes, out, kernel, stride, per_axis(padding, axes), dilation)
        return windowed(call, value, table, out)

    return rule


def adaptive(axes: int):
    """The rule of an adaptive pooling operation over that many axes."""

    def rule(call: Call, value: Units, size):
        out = tuple(call.shape[-axes:])
        return windowed(call, value, adaptive_table(value.shape[-axes:], out), out)

    return rule


def with_indices(rule):
    """The same rule for an operation that also returns where the maximum stood, which is a constant."""

    def both(call: Call, *args, **kwargs):
        pooled = rule(call, *args, **kwargs)
        return pooled, Known(torch.empty(pooled.shape, dtype=torch.int64, device="meta"))

    return both


def unpool(call: Call, value: Units, indices, *sizes):
    """max_unpool: the places are computed, so any element of a channel may come to any place of it."""
    call.say_conservative("the places to put back to are computed: any element of a channel may be at any")
    axes = len(call.shape) - 2
    whole = call.draft.rows(value.ids.flatten(2))
    return Units(whole.reshape(*value.shape[:2], *[1] * axes).expand(call.shape))


def columns(call: Call, value: Units, kernel, dilation, padding, stride):
    """im2col: the elements of every window, moved."""
    sizes = tuple(value.shape[-2:])
    table = convolution_table(
        sizes, _windows(sizes, kernel, dilation, padding, stride), *_settings(kernel, stride, padding, dilation)
    )
    flat = torch.nn.functional.pad(value.ids.flatten(-2), (1, 0))
    return Units(flat[..., torch.from_numpy(table + 1)].flatten(-3, -2))


def fold(call: Call, value: Units, size, kernel, dilation, padding, stride):
    """col2im: what overlapping windows hold at a place is summed."""
    sizes = tuple(size)
    out = _windows(sizes, kernel, dilation, padding, stride)
    table = torch.from_numpy(convolution_table(sizes, out, *_settings(kernel, stride, padding, dilation))).reshape(-1)
    order = table.argsort(stable=True)
    order = order[table[order] >= 0]
    place, count = table[order].unique_consecutive(return_counts=True)
    slot = torch.arange(len(order)) - (count.cumsum(0) - count).repeat_interleave(count)
    reads = torch.full((int(np.prod(sizes)), int(count.max())), -1)
    reads[place.repeat_interleave(count), slot] = order
    flat = value.ids.unflatten(-2, (-1, int(np.prod(kernel)))).flatten(-2)
    rows = torch.nn.functional.pad(flat, (1, 0))[..., reads + 1]
    return Units(call.draft.rows(rows).reshape(call.shape))


def _settings(kernel, stride, padding, dilation) -> tuple:
    return tuple(per_axis(each, 2) for each in (kernel, stride, padding, dilation))


def _windows(sizes, kernel, dilation, padding, stride) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    settings = zip(sizes, *_settings(kernel, stride, padding, dilation), strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in settings)


RULES: dict[Any, Any] = {
    aten.im2col.default: columns,
    aten.col2im.default: fold,
    **dict.fromkeys([aten.max_unpool2d.default, aten.max_unpool3d.default], unpool),
    **{getattr(aten, f"max_pool{n}d").default: pool(n, True) for n in (1, 2, 3)},
    **{getattr(aten, f"max_pool{n}d_with_indices").default: with_indices(pool(n, True)) for n in (2, 3)},
    aten.max_pool1d_with_indices.default: with_indices(pool(1, True)),
    **{getattr(aten, f"avg_pool{n}d").default: pool(n, False) for n in (1, 2, 3)},
    **{getattr(aten, f"adaptive_avg_pool{n}d").default: adaptive(n) for n in (1, 2, 3)},
    aten._adaptive_avg_pool2d.default: adaptive(2),
    aten._adaptive_avg_pool3d.default: adaptive(3),
    **{getattr(aten, f"adaptive_max_pool{n}d").default: with_indices(adaptive(n)) for n in (1, 2, 3)},
}

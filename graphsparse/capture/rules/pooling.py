"""Pooling: each result depends on the elements of its window; padding is no unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.windows import adaptive_table, convolution_table, per_axis, windowed
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import by_place
from graphsparse.capture.values import Sizes, Units

aten = torch.ops.aten


def pool(axes: int) -> Any:
    """The rule of a pooling operation over that many axes."""

    def rule(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
        given = call.named([value, *args], kwargs)
        settings = (
            given["kernel_size"],
            given["stride"] or given["kernel_size"],
            given["padding"],
            given.get("dilation", 1),
        )
        out = tuple(call.shape[-axes:])
        table = convolution_table(tuple(value.shape[-axes:]), out, *(per_axis(each, axes) for each in settings))
        return windowed(call, value, table, out)

    return rule


def adaptive(axes: int) -> Any:
    """The rule of an adaptive pooling operation over that many axes."""

    def rule(call: Call, value: Units, size: Sizes) -> Any:
        out = tuple(call.shape[-axes:])
        return windowed(call, value, adaptive_table(value.shape[-axes:], out), out)

    return rule


def unpool(call: Call, value: Units, indices: Any, *sizes: Any) -> Any:
    """max_unpool: the places are computed, so any element of a channel may come to any place of it."""
    call.say_conservative("the places to put back to are computed: any element of a channel may be at any")
    axes = len(call.shape) - 2
    whole = call.united(value.ids.flatten(2))
    return Units(whole.reshape(*value.shape[:2], *[1] * axes).expand(call.shape))


def columns(call: Call, value: Units, kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes) -> Any:
    """im2col: the elements of every window, moved."""
    sizes = tuple(value.shape[-2:])
    table = convolution_table(
        sizes, _windows(sizes, kernel, dilation, padding, stride), *_settings(kernel, stride, padding, dilation)
    )
    flat = torch.nn.functional.pad(value.ids.flatten(-2), (1, 0))
    return Units(flat[..., torch.from_numpy(table + 1)].flatten(-3, -2))


def fold(
    call: Call, value: Units, size: Sequence[int], kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> Any:
    """col2im: what overlapping windows hold at a place is summed."""
    sizes = tuple(size)
    out = _windows(sizes, kernel, dilation, padding, stride)
    table = torch.from_numpy(convolution_table(sizes, out, *_settings(kernel, stride, padding, dilation))).reshape(-1)
    inside = (table >= 0).nonzero()[:, 0]
    places, found = by_place(table[inside])
    reads = torch.full((int(np.prod(sizes)), found.size(1)), -1)
    reads[places] = torch.where(found < 0, -1, inside[found])
    flat = value.ids.unflatten(-2, (-1, int(np.prod(kernel)))).flatten(-2)
    rows = torch.nn.functional.pad(flat, (1, 0))[..., reads + 1]
    return Units(call.united(rows).reshape(call.shape))


def _settings(kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> tuple[Any, ...]:
    return tuple(per_axis(each, 2) for each in (kernel, stride, padding, dilation))


def _windows(sizes: Any, kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    settings = zip(sizes, *_settings(kernel, stride, padding, dilation), strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in settings)


RULES: dict[Any, Rule] = {
    aten.im2col.default: Rule(columns, flows="moves"),
    aten.col2im.default: Rule(fold),
    **rows([aten.max_unpool2d.default, aten.max_unpool3d.default], Rule(unpool)),
    **{getattr(aten, f"max_pool{n}d").default: Rule(pool(n), flows=f"maximum {n}d") for n in (1, 2, 3)},
    **{
        getattr(aten, f"max_pool{n}d_with_indices").default: Rule(pool(n), flows=flows)
        for n, flows in ((1, ""), (2, "maximum 2d, index"), (3, "maximum 3d, index"))
    },
    **{getattr(aten, f"avg_pool{n}d").default: Rule(pool(n), flows="moves") for n in (1, 2, 3)},
    **{getattr(aten, f"adaptive_avg_pool{n}d").default: Rule(adaptive(n), flows="moves") for n in (1, 2, 3)},
    aten._adaptive_avg_pool2d.default: Rule(adaptive(2), flows="moves"),
    aten._adaptive_avg_pool3d.default: Rule(adaptive(3), flows="moves"),
    **{
        getattr(aten, f"adaptive_max_pool{n}d").default: Rule(adaptive(n), flows=f"adaptive maximum {n}d")
        for n in (1, 2, 3)
    },
}

"""Pooling: each result depends on the elements of its window; padding is no unit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.windows import adaptive_table, convolution_table, per_axis, windowed
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import by_place
from graphsparse.capture.values import Sizes, Units

aten = torch.ops.aten


def pool(axes: int, call: Call, value: Units, *args: Any, **kwargs: Any) -> Units:
    """Average or maximum pooling over that many axes."""
    given = call.named([value, *args], kwargs)
    kernel = given["kernel_size"]
    settings = kernel, given["stride"] or kernel, given["padding"], given.get("dilation", 1)
    out = tuple(call.shape[-axes:])
    table = convolution_table(tuple(value.shape[-axes:]), out, *(per_axis(each, axes) for each in settings))
    return windowed(call, value, table, out)


def adaptive(axes: int, call: Call, value: Units, size: Sizes) -> Units:
    """Adaptive average or maximum pooling over that many axes."""
    out = tuple(call.shape[-axes:])
    return windowed(call, value, adaptive_table(value.shape[-axes:], out), out)


def unpool(call: Call, value: Units, indices: Any, *sizes: Any) -> Units:
    """max_unpool: the places are computed, so any element of a channel may come to any place of it."""
    call.say_conservative("the places to put back to are computed: any element of a channel may be at any")
    whole = call.united(value.ids.flatten(2))
    return Units(whole.reshape(*value.shape[:2], *[1] * (len(call.shape) - 2)).expand(call.shape))


def columns(call: Call, value: Units, kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes) -> Units:
    """im2col: the elements of every window, moved."""
    table = _windows(value.shape[-2:], kernel, dilation, padding, stride)
    flat = torch.nn.functional.pad(value.ids.flatten(-2), (1, 0))
    return Units(flat[..., table + 1].flatten(-3, -2))


def fold(
    call: Call, value: Units, size: Sequence[int], kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> Units:
    """col2im: what overlapping windows hold at a place is summed."""
    table = _windows(size, kernel, dilation, padding, stride).reshape(-1)
    inside = (table >= 0).nonzero()[:, 0]
    places, found = by_place(table[inside])
    reads = torch.full((prod(size), found.size(1)), -1)
    reads[places] = torch.where(found < 0, -1, inside[found])
    flat = value.ids.unflatten(-2, (-1, prod(per_axis(kernel, 2)))).flatten(-2)
    seen = torch.nn.functional.pad(flat, (1, 0))[..., reads + 1]
    return Units(call.united(seen).reshape(call.shape))


def _windows(sizes: Sequence[int], kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes) -> torch.Tensor:
    """The place among ``sizes`` of each element of each window, (elements, windows); -1 in the padding."""
    settings = [per_axis(each, 2) for each in (kernel, stride, padding, dilation)]
    out = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(sizes, *settings, strict=True))
    return torch.from_numpy(convolution_table(tuple(sizes), out, *settings))


RULES: dict[Any, Rule] = {
    aten.im2col.default: Rule(columns, flows="moves"),
    aten.col2im.default: Rule(fold),
    **rows("max_unpool2d max_unpool3d", Rule(unpool)),
    **rows("_adaptive_avg_pool2d", Rule(partial(adaptive, 2), flows="moves")),
    **rows("_adaptive_avg_pool3d", Rule(partial(adaptive, 3), flows="moves")),
}
for n in (1, 2, 3):
    windows, adapted = partial(pool, n), partial(adaptive, n)
    RULES |= {
        **rows(f"avg_pool{n}d", Rule(windows, flows="moves")),
        **rows(f"max_pool{n}d", Rule(windows, flows=f"maximum {n}d")),
        **rows(f"max_pool{n}d_with_indices", Rule(windows, flows=f"maximum {n}d, index" if n > 1 else "")),
        **rows(f"adaptive_avg_pool{n}d", Rule(adapted, flows="moves")),
        **rows(f"adaptive_max_pool{n}d", Rule(adapted, flows=f"adaptive maximum {n}d")),
    }

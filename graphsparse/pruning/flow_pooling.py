"""Maximum pooling as SynFlow sees it: the sum over the window, since each entry may be the greatest."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.pruning.flow import Call, Flow, Rule

aten = torch.ops.aten


def maximum_pool(axes: int) -> Rule:
    """The sum over each window, as a convolution by ones: it has every stride, padding, dilation and rounding."""
    convolve = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[axes - 1]

    def rule(
        call: Call, value: Flow, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *args: Any
    ) -> Any:
        sizes, out = value.value.shape[-axes:], call.shape[-axes:]
        kernel, padding, dilation = (_per_axis(v, axes) for v in (kernel, padding, dilation))
        stride = _per_axis(stride, axes) if stride else kernel
        needed = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(out, stride, dilation, kernel)]
        ends = [max(0, n - size - p) for n, size, p in zip(needed, sizes, padding)]
        borders = [side for pair in reversed(list(zip(padding, ends))) for side in pair]
        padded = torch.nn.functional.pad(value.value.reshape(-1, 1, *sizes), borders)
        pooled = convolve(padded, padded.new_ones(1, 1, *kernel), stride=stride, dilation=dilation)
        for axis, extent in enumerate(out):
            pooled = pooled.narrow(axis + 2, 0, extent)
        return Flow(pooled.reshape(call.shape), value.scale).rescaled()

    return rule


def adaptive_pool(axes: int) -> Rule:
    """Adaptive maximum pooling as adaptive averaging."""
    average = (aten.adaptive_avg_pool1d, aten.adaptive_avg_pool2d, aten.adaptive_avg_pool3d)[axes - 1]
    return lambda call, value, size: (Flow(average(value.value, size), value.scale), None)


def with_index(rule: Rule) -> Rule:
    """The same rule for an operation that also returns where the maximum stood."""
    return lambda call, *args, **kwargs: (rule(call, *args, **kwargs), None)


def _per_axis(value: Any, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value) * (axes if len(value) == 1 else 1)

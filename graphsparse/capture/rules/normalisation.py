"""Normalisation: each unit passes through; its statistics are connections only where `norm_statistics` asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.arithmetic import biased, multiply, pairwise, per_channel
from graphsparse.capture.table import Rule
from graphsparse.capture.units import tidy
from graphsparse.capture.values import Known, Units, Value
from graphsparse.capture.walk import REFUSED

aten = torch.ops.aten


def affine(call: Call, value: Units, weight: Value | None, bias: Value | None, axis: int | None = None) -> Value:
    """Scale and shift by parameters, or by what is computed, along a channel axis (trailing axes where None)."""
    after = 0 if axis is None else value.ids.dim() - axis - 1
    scaled = value if weight is None else multiply(call, value, weight if axis is None else per_channel(weight, after))
    return biased(call, scaled, bias if axis is None else per_channel(bias, after))


def batch_norm(call: Call, value: Units, weight: Any, bias: Any, mean: Any, variance: Any, *rest: Any) -> Any:
    """At inference: a fixed scale and a fixed shift, without statistics of the input."""
    axis = 1 if value.ids.dim() > 1 else 0
    if isinstance(mean, Known):
        moved = call.ids(mean).reshape(-1, *[1] * (value.ids.dim() - axis - 1)) != 0
        value = call.lift(value, where=moved.expand(value.shape))
    return affine(call, value, weight, bias, axis)


def centred(call: Call, value: Units, axes: list[int]) -> Units:
    """Less the mean and divided by the deviation over axes: every element depends on all of them."""
    if not call.statistics_count():
        return value
    return Units(call.united_over(value.ids, axes).expand(value.shape))


def layer_norm(call: Call, value: Units, shape: Sequence[int], weight: Any = None, bias: Any = None, *rest: Any) -> Any:
    """Over the trailing axes, with a scale and a shift per element of them."""
    return affine(call, centred(call, value, list(range(-len(shape), 0))), weight, bias)


def rms_norm(call: Call, value: Units, shape: Sequence[int], weight: Any = None, *rest: Any) -> Any:
    """Divided by the root mean square over the trailing axes: what is zero stays zero."""
    if call.statistics_count():
        size = call.united_over(value.ids, list(range(-len(shape), 0)))
        value = pairwise(call, value, call.lift(Units(size)))
    return affine(call, value, weight, None)


def group_norm(call: Call, value: Units, groups: int, weight: Any = None, bias: Any = None, *rest: Any) -> Any:
    """Over the channels of a group and all positions."""
    split = Units(value.ids.unflatten(1, (groups, -1)))
    normal = centred(call, split, list(range(2, split.ids.dim())))
    return affine(call, Units(tidy(normal.ids.reshape(value.shape), value.ids)), weight, bias, 1)


def native_group_norm(
    call: Call, value: Units, weight: Any, bias: Any, n: Any, channels: Any, positions: Any, groups: int, *rest: Any
) -> Any:
    """group_norm with its arguments in another order."""
    return group_norm(call, value, groups, weight, bias)


def instance_norm(
    call: Call, value: Units, weight: Any, bias: Any, mean: Any, variance: Any, use_input_stats: bool, *rest: Any
) -> Any:
    """Over the positions of each channel; with running statistics it is batch norm."""
    if not use_input_stats:
        return batch_norm(call, value, weight, bias, mean, variance)
    return affine(call, centred(call, value, list(range(2, value.ids.dim()))), weight, bias, 1)


def batch_statistics(call: Call, value: Units, weight: Any, bias: Any, *rest: Any) -> Any:
    """Batch norm without running statistics: over the positions of each channel, and the batch, which makes no units."""
    axes = [axis for axis in range(value.ids.dim()) if axis != 1]
    return affine(call, centred(call, value, axes), weight, bias, 1)


def whole_batch_norm(
    call: Call, value: Units, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, *rest: Any
) -> Any:
    """Batch norm as a module calls it; where it would also write its running statistics it is taken apart."""
    if not training:
        return batch_norm(call, value, weight, bias, mean, variance)
    return REFUSED if mean is not None else batch_statistics(call, value, weight, bias)


RULES: dict[Any, Rule] = {
    aten.batch_norm.default: Rule(whole_batch_norm, weights="function"),
    aten._native_batch_norm_legit_no_training.default: Rule(batch_norm, weights="function", flows="batch norm"),
    aten._native_batch_norm_legit.no_stats: Rule(batch_statistics, weights="function"),
    aten.layer_norm.default: Rule(layer_norm, weights="function", flows="normalises"),
    aten.native_layer_norm.default: Rule(layer_norm, weights="function"),
    aten.rms_norm.default: Rule(rms_norm, weights="function", flows="normalises"),
    aten._fused_rms_norm.default: Rule(rms_norm, weights="function"),
    aten.group_norm.default: Rule(group_norm, weights="function", flows="normalises"),
    aten.native_group_norm.default: Rule(native_group_norm, weights="function"),
    aten.instance_norm.default: Rule(instance_norm, weights="function", flows="normalises"),
}

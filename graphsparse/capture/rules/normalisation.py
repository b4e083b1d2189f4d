"""Normalisation: each unit passes through; its statistics are connections only where `norm_statistics` asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    if axis is not None:
        weight, bias = (per_channel(each, value.ids.dim() - axis - 1) for each in (weight, bias))
    return biased(call, value if weight is None else multiply(call, value, weight), bias)


def centred(call: Call, value: Units, axes: Iterable[int]) -> Units:
    """Less the mean and divided by the deviation over axes: every element depends on all of them."""
    if not call.statistics_count():
        return value
    return Units(call.united_over(value.ids, list(axes)).expand(value.shape))


def fixed(call: Call, value: Units, weight: Any, bias: Any, mean: Any, *rest: Any) -> Value:
    """Batch norm at inference: a fixed scale and a fixed shift, without statistics of the input."""
    axis = 1 if value.ids.dim() > 1 else 0
    if isinstance(mean, Known):
        moved = call.ids(mean).reshape(-1, *[1] * (value.ids.dim() - axis - 1)) != 0
        value = call.lift(value, where=moved.expand(value.shape))
    return affine(call, value, weight, bias, axis)


def measured(call: Call, value: Units, weight: Any, bias: Any, *rest: Any) -> Value:
    """Batch norm without running statistics: over the positions of each channel, and the batch, which makes no units."""
    return affine(call, centred(call, value, [0, *range(2, value.ids.dim())]), weight, bias, 1)


def batch_norm(
    call: Call, value: Units, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, *rest: Any
) -> Any:
    """Batch norm as a module calls it; where it would also write its running statistics it is taken apart."""
    if not training:
        return fixed(call, value, weight, bias, mean)
    return REFUSED if mean is not None else measured(call, value, weight, bias)


def instance_norm(
    call: Call, value: Units, weight: Any, bias: Any, mean: Any, variance: Any, use_input_stats: bool, *rest: Any
) -> Value:
    """Over the positions of each channel; with running statistics it is batch norm."""
    if not use_input_stats:
        return fixed(call, value, weight, bias, mean)
    return affine(call, centred(call, value, range(2, value.ids.dim())), weight, bias, 1)


def layer_norm(call: Call, value: Units, shape: Sequence[int], weight: Any = None, bias: Any = None, *rest: Any) -> Any:
    """Over the trailing axes, with a scale and a shift per element of them."""
    return affine(call, centred(call, value, range(-len(shape), 0)), weight, bias)


def rms_norm(call: Call, value: Units, shape: Sequence[int], weight: Any = None, *rest: Any) -> Any:
    """Divided by the root mean square over the trailing axes: what is zero stays zero."""
    if call.statistics_count():
        size = call.united_over(value.ids, list(range(-len(shape), 0)))
        value = pairwise(call, value, call.lift(Units(size)))
    return affine(call, value, weight, None)


def group_norm(call: Call, value: Units, *args: Any, **kwargs: Any) -> Value:
    """Over the channels of a group and all positions."""
    given = call.named([value, *args], kwargs)
    groups = given["num_groups"] if "num_groups" in given else given["group"]
    split = Units(value.ids.unflatten(1, (groups, -1)))
    normal = centred(call, split, range(2, split.ids.dim()))
    return affine(call, Units(tidy(normal.ids.reshape(value.shape), value.ids)), given["weight"], given["bias"], 1)


RULES: dict[Any, Rule] = {
    aten.batch_norm.default: Rule(batch_norm, weights="function"),
    aten._native_batch_norm_legit_no_training.default: Rule(fixed, weights="function", flows="batch norm"),
    aten._native_batch_norm_legit.no_stats: Rule(measured, weights="function"),
    aten.instance_norm.default: Rule(instance_norm, weights="function", flows="normalises"),
    aten.layer_norm.default: Rule(layer_norm, weights="function", flows="normalises"),
    aten.native_layer_norm.default: Rule(layer_norm, weights="function"),
    aten.rms_norm.default: Rule(rms_norm, weights="function", flows="normalises"),
    aten._fused_rms_norm.default: Rule(rms_norm, weights="function"),
    aten.group_norm.default: Rule(group_norm, weights="function", flows="normalises"),
    aten.native_group_norm.default: Rule(group_norm, weights="function"),
}

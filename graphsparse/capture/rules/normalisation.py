"""Normalisation: each unit passes through; its statistics are connections only where `norm_statistics` asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_map

from graphsparse.capture.call import Call
from graphsparse.capture.rules import products, sums
from graphsparse.capture.rules.reductions import over_axes
from graphsparse.capture.values import Known, Units

aten = torch.ops.aten


def affine(call: Call, value: Units, weight, bias, axis: int | None = None) -> Units:
    """Scale and shift by parameters, or by what is computed, along a channel axis (trailing axes where None)."""
    if weight is not None:
        value = products.multiply(call, value, along(weight, value, axis))
    if bias is not None:
        value = sums.add(call, value, along(bias, value, axis))
    return value


def along(weight, value: Units, axis: int | None):
    """One entry per channel as it broadcasts against the value."""
    if axis is None:
        return weight
    shape = (-1, *[1] * (value.ids.dim() - axis - 1))
    if isinstance(weight, Units):
        return Units(weight.ids.reshape(shape))
    if isinstance(weight, Known):
        return Known(weight.tensor.reshape(shape))
    return weight.moved(lambda layout: layout.reshape(shape))


def batch_norm(call: Call, value: Units, weight, bias, mean, variance, *rest):
    """At inference: a fixed scale and a fixed shift, without statistics of the input."""
    axis = 1 if value.ids.dim() > 1 else 0
    if isinstance(mean, Known):
        moved = call.ids(mean).reshape(-1, *[1] * (value.ids.dim() - axis - 1)) != 0
        value = call.draft.lift(value, where=moved.expand(value.shape))
    return affine(call, value, weight, bias, axis), None, None


def centred(call: Call, value: Units, axes: list[int]) -> Units:
    """Less the mean and divided by the deviation over axes: every element depends on all of them."""
    call.draft.has_norm_statistics = True
    if not call.draft.norm_statistics:
        return value
    return Units(over_axes(call, value.ids, axes).expand(value.shape))


def layer_norm(call: Call, value: Units, shape, weight=None, bias=None, *rest):
    """Over the trailing axes, with a scale and a shift per element of them."""
    return affine(call, centred(call, value, list(range(-len(shape), 0))), weight, bias)


def rms_norm(call: Call, value: Units, shape, weight=None, *rest):
    """Divided by the root mean square over the trailing axes: what is zero stays zero."""
    call.draft.has_norm_statistics = True
    if call.draft.norm_statistics:
        size = over_axes(call, value.ids, list(range(-len(shape), 0)))
        value = products.pairwise(call, value, call.draft.lift(Units(size)))
    return affine(call, value, weight, None)


def group_norm(call: Call, value: Units, groups: int, weight=None, bias=None, *rest):
    """Over the channels of a group and all positions."""
    split = Units(value.ids.unflatten(1, (groups, -1)))
    normal = centred(call, split, list(range(2, split.ids.dim())))
    return affine(
        call,
        Units(normal.ids.reshape(value.shape) if normal is not split else value.ids),
        weight,
        bias,
        1,
    )


def native_group_norm(call: Call, value: Units, weight, bias, n, channels, positions, groups: int, *rest):
    """group_norm with its arguments in another order, and the statistics."""
    return group_norm(call, value, groups, weight, bias), call.constants(), call.constants()


def instance_norm(call: Call, value: Units, weight, bias, mean, variance, use_input_stats: bool, *rest):
    """Over the positions of each channel; with running statistics it is batch norm."""
    if not use_input_stats:
        return batch_norm(call, value, weight, bias, mean, variance)[0]
    return affine(call, centred(call, value, list(range(2, value.ids.dim()))), weight, bias, 1)


def batch_statistics(call: Call, value: Units, weight, bias, *rest):
    """Batch norm without running statistics: over the positions of each channel, and the batch, which makes no units."""
    axes = [axis for axis in range(value.ids.dim()) if axis != 1]
    return affine(call, centred(call, value, axes), weight, bias, 1), call.constants(), call.constants()


def first_of(rule: Callable[..., Any], others: int) -> Callable[..., Any]:
    """The rule of an operation that also gives its statistics."""

    def with_statistics(call: Call, *args, **kwargs):
        return rule(call, *args, **kwargs), *[call.constants() for _ in range(others)]

    return with_statistics


def by_hand(rules: Mapping[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    """The rules, of which those that a norm written out by hand (in a module named *Norm*) uses know of its statistics."""
    found = {target: _statistic(rules[target]) for target in STATISTICS if target in rules}
    return {**rules, **found, **{target: _less_statistic(rules[target]) for target in SHIFTS}}


def _statistic(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A mean or norm that is to be broadcast against what it was taken over: a number where statistics do not count."""

    def reduced(call: Call, value, *args, **kwargs):
        if "Norm" not in call.module_type or not isinstance(value, Units) or len(call.shape) != len(value.shape):
            return rule(call, value, *args, **kwargs)
        call.draft.has_norm_statistics = True
        made = rule(call, value, *args, **kwargs) if call.draft.norm_statistics else None
        if made is not None:
            return made
        several = call.target in PAIRS
        return tree_map(lambda _: call.constants(), (0, 0) if several else 0)

    return reduced


def _less_statistic(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Less a statistic that does not count: the unit passes through, a zero stays zero."""

    def shifted(call: Call, left, right, *args, **kwargs):
        statistic = isinstance(right, Known) and not right.known or isinstance(left, Known) and not left.known
        if not statistic or "Norm" not in call.module_type or call.draft.norm_statistics:
            return rule(call, left, right, *args, **kwargs)
        units = left if isinstance(left, Units) else right
        return Units(units.ids.expand(call.shape))

    return shifted


SHIFTS = [aten.add.Tensor, aten.sub.Tensor, aten.rsub.Tensor]
PAIRS = [aten.var_mean.correction, aten.var_mean.dim, aten.std_mean.correction, aten.std_mean.dim]
STATISTICS = [
    aten.mean.dim, aten.sum.dim_IntList, aten.var.correction, aten.var.dim, aten.std.correction, aten.std.dim, *PAIRS,
    aten.linalg_vector_norm.default, aten.norm.ScalarOpt_dim, aten.amax.default,
]  # fmt: skip
RULES = {
    aten._native_batch_norm_legit_no_training.default: batch_norm,
    aten._native_batch_norm_legit.no_stats: batch_statistics,
    aten.layer_norm.default: layer_norm,
    aten.native_layer_norm.default: first_of(layer_norm, 2),
    aten.rms_norm.default: rms_norm,
    aten._fused_rms_norm.default: first_of(rms_norm, 1),
    aten.group_norm.default: group_norm,
    aten.native_group_norm.default: native_group_norm,
    aten.instance_norm.default: instance_norm,
}

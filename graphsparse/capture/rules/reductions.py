"""Reductions over axes: the result depends on every element that it is taken over."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.arithmetic import pairwise
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.values import Axes, Units

aten = torch.ops.aten


def reduce(call: Call, value: Units, dim: Axes = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """Sum, mean, maximum or norm over the axes ``dim`` (all where None or empty)."""
    return Units(call.united_over(value.ids, dim).reshape(call.shape))


def lifted(call: Call, value: Units, dim: Axes = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """A reduction that is not zero at zero: the logarithm of a sum of exponentials."""
    return call.lift(reduce(call, value, dim))


def norm(call: Call, value: Units, order: float | None = 2, dim: Axes = None, *rest: Any, **kwargs: Any) -> Any:
    """A vector norm over axes."""
    return reduce(call, value, dim)


def moments(call: Call, value: Units, dim: Axes = None, *rest: Any, **kwargs: Any) -> Any:
    """Variance and mean together, or both extrema: each depends on all."""
    found = reduce(call, value, dim)
    return found, found


def chosen(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """The largest, smallest or middle along an axis, and its index, which is an integer and so a constant."""
    return reduce(call, value, call.named([value, *args], kwargs)["dim"]), call.constants(dtype=torch.int64)


def multiplied(call: Call, value: Units, dim: int | None = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """A product over an axis: zero where one factor is."""
    ids = value.ids.reshape(-1) if dim is None else value.ids.movedim(dim, 0)
    made = Units(ids[0])
    for factor in ids[1:]:
        made = pairwise(call, made, Units(factor))
    return Units(made.ids.reshape(call.shape))


SUMS = [aten.mean.default, aten.sum.default]
SPREADS = [aten.amin.default, aten.max.default, aten.min.default, aten.var.default, aten.std.default]
OTHERS = [aten.nanmean.default, aten.nansum.default, aten.median.default, aten.nanmedian.default, aten.trace.default]
IN_NORMS = [aten.var.correction, aten.var.dim, aten.std.correction, aten.std.dim, aten.amax.default]
PAIRS = [aten.var_mean.correction, aten.std_mean.correction, aten.var_mean.dim, aten.std_mean.dim]
NORMS = [aten.linalg_vector_norm.default, aten.norm.ScalarOpt_dim]
RULES: dict[Any, Rule] = {
    **rows(SUMS, Rule(reduce, flows="moves")),
    **rows([aten.mean.dim, aten.sum.dim_IntList], Rule(reduce, norm="measures", flows="moves")),
    **rows(SPREADS, Rule(reduce, flows="averages")),
    **rows(IN_NORMS, Rule(reduce, norm="measures", flows="averages")),
    **rows(OTHERS, Rule(reduce)),
    **rows(NORMS, Rule(norm, norm="measures", flows="averages")),
    aten.norm.Scalar: Rule(norm),
    **rows(PAIRS, Rule(moments, norm="measures")),
    **rows([aten.max.dim, aten.min.dim], Rule(chosen, flows="extremum")),
    **rows([aten.median.dim, aten.kthvalue.default, aten.mode.default], Rule(chosen)),
    **rows([aten.prod.default, aten.prod.dim_int], Rule(multiplied)),
    aten.logsumexp.default: Rule(lifted, flows="averages"),
    aten.aminmax.default: Rule(moments),
}

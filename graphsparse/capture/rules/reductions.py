"""Reductions over axes: the result depends on every element that it is taken over."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.rules.products import pairwise
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Units

aten = torch.ops.aten


def reduce(call: Call, value: Units, dim=None, keepdim: bool = False, **kwargs):
    """Sum, mean, maximum or norm over the axes ``dim`` (all where None or empty)."""
    return Units(over_axes(call, value.ids, dim).reshape(call.shape))


def over_axes(call: Call, ids: torch.Tensor, dim) -> torch.Tensor:
    """The unit of each group of elements along axes, the axes kept with size one."""
    if not ids.dim():
        return ids
    axes = all_axes(ids, dim)
    (small,), _ = collapse(ids)
    others = [axis for axis in range(ids.dim()) if axis not in axes]
    rows = small.permute(*others, *axes).reshape(int(torch.Size([small.size(a) for a in others]).numel()), -1)
    result = call.draft.union(rows).reshape([1 if a in axes else small.size(a) for a in range(ids.dim())])
    return result.expand([1 if a in axes else ids.size(a) for a in range(ids.dim())])


def all_axes(ids: torch.Tensor, dim) -> list[int]:
    """The axes that torch means by ``dim``, ascending."""
    axes = range(ids.dim()) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return sorted(axis % ids.dim() for axis in axes) if ids.dim() else []


def lifted(call: Call, value: Units, dim=None, keepdim: bool = False, **kwargs):
    """A reduction that is not zero at zero: the logarithm of a sum of exponentials."""
    return call.draft.lift(reduce(call, value, dim, keepdim))


def norm(call: Call, value: Units, order: float | None = 2, dim=None, keepdim: bool = False, **kwargs):
    """A vector norm over axes."""
    return reduce(call, value, dim, keepdim)


def moments(call: Call, value: Units, dim=None, *rest, **kwargs):
    """Variance and mean together, or both extrema: each depends on all."""
    found = Units(over_axes(call, value.ids, dim).reshape(call.shape))
    return found, found


def extrema(call: Call, value: Units, *, dim: int | None = None, keepdim: bool = False):
    """The smallest and the largest."""
    return moments(call, value, dim)


def chosen(call: Call, value: Units, *where, **kwargs):
    """The largest, smallest or middle along an axis, and its index, which is an integer and so a constant."""
    dim = next((a for a in where if isinstance(a, int) and not isinstance(a, bool)), kwargs.get("dim", -1))
    if call.target is aten.kthvalue.default:
        dim = where[1] if len(where) > 1 else kwargs.get("dim", -1)
    found = Units(over_axes(call, value.ids, dim).reshape(call.shape))
    return found, call.constants(dtype=torch.int64)


def multiplied(call: Call, value: Units, dim=None, keepdim: bool = False, **kwargs):
    """A product over an axis: zero where one factor is."""
    ids = value.ids.reshape(-1) if dim is None else value.ids.movedim(dim, 0)
    made = Units(ids[0])
    for factor in ids[1:]:
        made = pairwise(call, made, Units(factor))
    return Units(made.ids.reshape(call.shape))


REDUCTIONS = [
    aten.mean.default, aten.mean.dim, aten.sum.default, aten.sum.dim_IntList, aten.amax.default, aten.amin.default,
    aten.max.default, aten.min.default, aten.var.default, aten.var.dim, aten.var.correction, aten.std.default, aten.std.dim,
    aten.std.correction, aten.nanmean.default, aten.nansum.default, aten.median.default, aten.nanmedian.default,
    aten.trace.default,
]  # fmt: skip
RULES: dict[Any, Any] = {
    **dict.fromkeys(REDUCTIONS, reduce),
    **dict.fromkeys([aten.linalg_vector_norm.default, aten.norm.ScalarOpt_dim, aten.norm.Scalar], norm),
    **dict.fromkeys(
        [aten.var_mean.correction, aten.std_mean.correction, aten.var_mean.dim, aten.std_mean.dim], moments
    ),
    **dict.fromkeys([aten.max.dim, aten.min.dim, aten.median.dim, aten.kthvalue.default, aten.mode.default], chosen),
    **dict.fromkeys([aten.prod.default, aten.prod.dim_int], multiplied),
    aten.logsumexp.default: lifted,
    aten.aminmax.default: extrema,
}

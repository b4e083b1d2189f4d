"""Reductions over axes: the result depends on every element that it is taken over."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Units

aten = torch.ops.aten


def reduce(call: Call, value: Units, dim=None, keepdim: bool = False, **kwargs):
    """Sum, mean, maximum or norm over the axes ``dim`` (all where None or empty)."""
    return Units(over_axes(call, value.ids, dim).reshape(call.shape), value.exclusive)


def over_axes(call: Call, ids: torch.Tensor, dim) -> torch.Tensor:
    """The unit of each group of elements along axes, the axes kept with size one."""
    axes = range(ids.dim()) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    axes = sorted(axis % ids.dim() for axis in axes) if ids.dim() else []
    (small,), _ = collapse(ids)
    others = [axis for axis in range(ids.dim()) if axis not in axes]
    rows = small.permute(*others, *axes).reshape(int(torch.Size([small.size(a) for a in others]).numel()), -1)
    result = call.draft.union(rows).reshape([1 if a in axes else small.size(a) for a in range(ids.dim())])
    return result.expand([1 if a in axes else ids.size(a) for a in range(ids.dim())])


def norm(call: Call, value: Units, order: float = 2, dim=None, keepdim: bool = False, **kwargs):
    """A vector norm over axes."""
    return reduce(call, value, dim, keepdim)


def extremum(call: Call, value: Units, dim: int, keepdim: bool = False):
    """The largest or smallest along an axis, and its index, which is an integer and so a constant."""
    from graphsparse.capture.values import Known

    found = Units(over_axes(call, value.ids, dim).reshape(call.shape), value.exclusive)
    return found, Known(torch.empty(call.shape, dtype=torch.int64, device="meta"))


REDUCTIONS = [
    aten.mean.default, aten.mean.dim, aten.sum.default, aten.sum.dim_IntList, aten.amax.default, aten.amin.default,
    aten.max.default, aten.min.default, aten.logsumexp.default,
]  # fmt: skip
RULES = {
    **dict.fromkeys(REDUCTIONS, reduce),
    aten.linalg_vector_norm.default: norm,
    aten.max.dim: extremum,
    aten.min.dim: extremum,
}

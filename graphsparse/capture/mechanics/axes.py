"""The unit of all elements along some axes of a value."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Axes


def over_axes(call: Call, ids: torch.Tensor, dim: Axes) -> torch.Tensor:
    """The unit of each group of elements along axes, the axes kept with size one."""
    if not ids.dim():
        return ids
    axes = all_axes(ids, dim)
    (small,), _ = collapse(ids)
    others = [axis for axis in range(ids.dim()) if axis not in axes]
    rows = small.permute(*others, *axes).reshape(int(torch.Size([small.size(a) for a in others]).numel()), -1)
    result = call.united(rows).reshape([1 if a in axes else small.size(a) for a in range(ids.dim())])
    return result.expand([1 if a in axes else ids.size(a) for a in range(ids.dim())])


def all_axes(ids: torch.Tensor, dim: Axes) -> list[int]:
    """The axes that torch means by ``dim``, ascending."""
    axes = range(ids.dim()) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    return sorted(axis % ids.dim() for axis in axes) if ids.dim() else []

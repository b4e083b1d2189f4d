"""Interpolation: each result depends on a window of positions, found by trying torch's own operation along each axis."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.windows import over_all_axes, windowed
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Known, Units


def interpolate(call: Call, value: Units, *settings: Any, **kwargs: Any) -> Any:
    """Nearest, linear, cubic, with or without antialiasing, over one to three axes: all separable."""
    axes = value.ids.dim() - 2
    out = tuple(call.shape[-axes:])
    (small,), _ = collapse(value.ids)
    if small.shape[-axes:].numel() == 1:
        return Units(small.expand(*value.shape[:2], *out))
    call.draft.fits(max(value.shape[-axes:]) * prod(out))
    tables = [_taps(call, axis, value.shape[-axes:], settings, kwargs) for axis in range(axes)]
    return windowed(call, value, over_all_axes(tables, value.shape[-axes:]), out)


def _taps(call: Call, axis: int, sizes: torch.Size, settings: tuple[Any, ...], kwargs: dict[str, Any]) -> np.ndarray:
    """The positions (taps, out) that outputs read along one axis, found by where impulses come out."""
    size = sizes[axis]
    shape = [1] * len(sizes)
    shape[axis] = size
    impulses = torch.eye(size, dtype=torch.float64).reshape(size, 1, *shape).expand(size, 1, *sizes)
    answer = call.target(impulses, *settings, **kwargs).movedim(2 + axis, 2)
    answer = answer.reshape(size, answer.size(2), -1)[:, :, 0]  # (in, out)
    return taps_of(answer.T != 0)


def taps_of(reads: torch.Tensor) -> np.ndarray:
    """The table (taps, outputs) of which inputs each output reads, from a bool (outputs, inputs); -1 where there are fewer."""
    most = max(1, int(reads.sum(1).max()))
    order = reads.long().argsort(dim=1, descending=True, stable=True)[:, :most]
    return torch.where(reads.gather(1, order), order, -1).T.numpy()


def sampled(call: Call, value: Units, grid: Any, *settings: Any, **kwargs: Any) -> Any:
    """grid_sample: at known places a window of positions, at computed ones the whole channel and the place itself."""
    axes = value.ids.dim() - 2
    out = tuple(call.shape[-axes:])
    if isinstance(grid, Known) and grid.known and grid.shape[0] == 1 and len(out) == 2:
        space = value.shape[-axes:]
        call.draft.fits(prod(space) * prod(out))
        impulses = torch.eye(space.numel(), dtype=torch.float64).reshape(1, -1, *space)
        answer = call.target(impulses, grid.tensor.double(), *settings, **kwargs).flatten(2)[0]
        return windowed(call, value, taps_of(answer.T != 0), out)
    call.say_conservative("the places that are sampled are computed: any position of a channel may be read")
    channels = call.united(value.ids.flatten(2)).reshape(*value.shape[:2], *[1] * axes)
    whole = channels.expand(*value.shape[:2], *out)
    if not isinstance(grid, Units):
        return Units(whole)
    place = call.united(grid.ids).unsqueeze(1)
    return call.union([Units(whole), Units(place.expand(whole.shape))])


KINDS = {
    "moves": """
        upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d
    """,
    "enlarges": "upsample_bicubic2d",
    "": """
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _upsample_bilinear2d_aa
        _upsample_bicubic2d_aa
    """,
}
"""Operations by their flow."""
RULES: dict[Any, Rule] = rows("grid_sampler grid_sampler_2d grid_sampler_3d", Rule(sampled))
for flows, names in KINDS.items():
    for form in ("default", "vec"):  # with sizes, and with factors
        RULES |= rows(" ".join(f"{name}.{form}" for name in names.split()), Rule(interpolate, flows=flows))

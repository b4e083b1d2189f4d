"""Windows of positions: which position each tap reads at each output, as a table (taps, positions), -1 for padding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Sizes, Units


def along_axis(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """Positions (kernel, out) that a window reads along one axis of ``size``."""
    position = np.arange(out) * stride - padding + np.arange(kernel)[:, None] * dilation
    return np.where((position >= 0) & (position < size), position, -1)


def along_axis_transposed(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """Positions (kernel, out) that a transposed convolution reads along one axis."""
    scaled = np.arange(out) + padding - np.arange(kernel)[:, None] * dilation
    position = scaled // stride
    return np.where((scaled % stride == 0) & (position >= 0) & (position < size), position, -1)


def over_all_axes(axes: Sequence[np.ndarray], sizes: Sequence[int]) -> np.ndarray:
    """The table over all axes from the tables (taps, positions) along each."""
    table = np.zeros((1, 1), np.int64)
    for axis, size in zip(axes, sizes, strict=True):
        before, along = table[:, None, :, None], axis[None, :, None, :]
        inside = (before >= 0) & (along >= 0)
        table = np.where(inside, before * size + along, -1).reshape(len(table) * len(axis), -1)
    return table


@lru_cache(maxsize=512)
def convolution_table(
    sizes: tuple[int, ...],
    out: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    transposed: bool = False,
) -> np.ndarray:
    """The table of a convolution over any number of axes; equal calls share it."""
    axis = along_axis_transposed if transposed else along_axis
    return over_all_axes(
        [axis(*each) for each in zip(sizes, out, kernel, stride, padding, dilation, strict=True)], sizes
    )


def adaptive_table(sizes: Sequence[int], out: Sequence[int]) -> np.ndarray:
    """The table of adaptive pooling over any number of axes."""
    axes = []
    for size, n in zip(sizes, out, strict=True):
        start, stop = np.arange(n) * size // n, -(-(np.arange(n) + 1) * size // n)
        position = start + np.arange((stop - start).max())[:, None]
        axes.append(np.where(position < stop, position, -1))
    return over_all_axes(axes, sizes)


def per_axis(value: Sizes, axes: int) -> tuple[int, ...]:
    """A setting that torch allows to be one number for all axes, as one number an axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)


def windowed(call: Call, value: Units, table: np.ndarray, out: tuple[int, ...]) -> Units:
    """One unit per channel and window; ``table`` (taps, windows) of positions among the last axes, -1 outside."""
    axes = len(out)
    (small,), _ = collapse(value.ids)
    lead = value.ids.shape[:-axes]
    if small.shape[-axes:].numel() == 1:  # a channel that is one unit stays that unit
        return Units(small.expand(*lead, *out))
    space = value.ids.shape[-axes:]
    flat = small.expand(*small.shape[:-axes], *space).reshape(-1, space.numel())
    padded = torch.cat([torch.zeros(len(flat), 1, dtype=flat.dtype), flat], 1)
    call.draft.fits(len(flat) * table.size)
    rows = padded[:, torch.from_numpy(table.T.copy() + 1)]
    ids = call.united(rows.reshape(-1, table.shape[0])).reshape(*small.shape[:-axes], *out)
    return Units(ids.expand(*lead, *out))

"""Layers of connections: the units that a kernel feeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from graphsparse.blocks import KernelBlock, Places, View
from graphsparse.capture.draft import Draft, as_ids
from graphsparse.capture.values import Weight
from graphsparse.capture.wiring import join, lifts
from graphsparse.kernels.layout import Taps


@dataclass(frozen=True, eq=False)
class KernelPart:
    """A parameter that a kernel reads, where in it the kernel lies, and the mask that holds there."""

    parameter: str
    view: View | Places
    mask: str

    def between(self, sources: np.ndarray, targets: np.ndarray, taps: Taps) -> KernelBlock:
        """The kernel between units: ids of the graph, (groups, channels, size) and (groups, rows, positions)."""
        return KernelBlock(self.parameter, self.view, sources, targets, taps, self.mask)


def feed(
    draft: Draft, weight: Weight, grouped: torch.Tensor, sources: torch.Tensor, taps: Taps, bias: Weight | None = None
) -> torch.Tensor:
    """A layer of the units that a kernel feeds: ids (groups, rows, positions).

    ``grouped`` is the weight's layout as (groups, rows, *columns); ``sources`` ids (groups, channels, size).
    """
    groups, rows = grouped.shape[:2]
    draft.take(int(taps.table.size))
    layer, ids = draft.layer(groups * rows * taps.positions)
    ids = ids.reshape(groups, rows, taps.positions)
    from_ids, to_ids = as_ids(sources), as_ids(ids)
    layer.blocks += [part.between(from_ids, to_ids, taps) for part in parts(draft, weight, grouped)]
    if bias is not None:
        entries = bias.index.reshape(groups, rows, 1).expand(ids.shape)
        layer.stages += lifts(draft, bias, ids.reshape(-1), entries.reshape(-1))
    return ids


def parts(draft: Draft, weight: Weight, grouped: torch.Tensor) -> list[KernelPart]:
    """The parameters that a kernel is made of, which have connections from now on; ``grouped`` as for `kernel`."""
    usage = draft.usage
    found = [KernelPart(usage.parameter_of(name), _view_of(layout), name) for name, layout in weight.stored(grouped)]
    usage.kernels |= {part.parameter for part in found}
    return found


def _view_of(grouped: torch.Tensor) -> View | Places:
    if grouped.is_meta:
        return View(int(grouped.storage_offset()), tuple(grouped.shape), tuple(grouped.stride()))
    return Places(np.ascontiguousarray(grouped.flatten(2).numpy()))


def dense(draft: Draft, sources: torch.Tensor, weight: Weight, kernel: torch.Tensor, bias: Any = None) -> torch.Tensor:
    """The units (groups, outputs, positions) of a kernel (groups, outputs, inputs) over sources (groups, inputs, positions)."""
    if not draft.unrolled:  # the positions are one
        groups, inputs, _ = sources.shape
        sources = join(draft, sources.flatten(0, 1)).reshape(groups, inputs, 1)
    positions = sources.size(2)
    return feed(draft, weight, kernel, sources, Taps.of(np.arange(positions)[None], positions), bias)


def grouped(layout: torch.Tensor) -> torch.Tensor:
    """A layout (..., outputs, inputs) with its leading axes as one; by entries where strides cannot say it."""
    sizes = (-1, *layout.shape[-2:])
    try:
        return layout.view(sizes) if layout.dim() > 2 else layout.unsqueeze(0)
    except RuntimeError:
        return (Weight("", layout).index if layout.is_meta else layout).reshape(sizes)

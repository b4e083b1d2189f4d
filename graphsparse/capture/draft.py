"""The graph while it is being captured: layers of units with their blocks, numbered as they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
import torch

from graphsparse.capture.values import Units
from graphsparse.errors import SIZES, CaptureError


@dataclass
class LayerDraft:
    """Units ``start`` to ``stop - 1``, from 1 on. ``joins``: in channel resolution they join positions of others."""

    name: str
    operation: str
    start: int
    stop: int
    blocks: list[Any] = field(default_factory=list[Any])
    stages: list[Any] = field(default_factory=list[Any])
    joins: bool = False
    module: str = ""
    matrices: np.ndarray | None = None


def as_ids(ids: torch.Tensor) -> np.ndarray:
    """Capture's ids as the graph's: units from 0 on, -1 no unit, -2 a constant."""
    return np.ascontiguousarray((ids - 1).numpy())


@dataclass
class Usage:
    """Names of parameters by what the program does with them."""

    apart: Mapping[str, str]  # the parameter of each use that has a mask of its own, by the mask's key
    kernels: set[str] = field(default_factory=set)  # have connections
    modulators: set[str] = field(default_factory=set)  # biases and scales, which have none
    scales: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)  # by any call
    tables: dict[str, list[str]] = field(default_factory=dict)  # by the input that indexes them
    rows: list[tuple[str, torch.Tensor]] = field(default_factory=list)  # of tables, by their reader

    def parameter_of(self, weight: str) -> str:
        """The parameter that a weight counts for: a use that has a mask of its own goes by the mask's key."""
        return self.apart.get(weight, weight)


class Draft:
    """Numbers units and collects their layers. What is put into a layer is made in `wiring`."""

    def __init__(
        self, resolution: str, norm_statistics: bool, uses: Mapping[str, str] | None = None, room: float = inf
    ):
        self.resolution, self.norm_statistics = resolution, norm_statistics
        self.room = room  # how many units and links there may still be
        self.layers: list[LayerDraft] = []
        self.sources: list[torch.Tensor] = []
        self.usage = Usage(uses or {})
        self.has_norm_statistics = False
        self.place = ("", "")  # module path and operation of the call that is being lowered
        self.joined: dict[tuple[Any, ...], Units] = {}  # what was joined, so that it is joined once
        self.conservative: list[tuple[str, str, str]] = []  # operation, module, reason
        self.count = 0  # of units

    def take(self, count: int) -> None:
        """Count units, or links between them, that are about to be made; raises as `fits`."""
        self.fits(count)
        self.room -= count

    def fits(self, count: int) -> None:
        """Raise CaptureError where a program from a file asks for more units and links than the file bears out."""
        if count > self.room:
            raise CaptureError(
                "the graph of a program must be of a size that its file bears out", place=" ".join(filter(None, self.place)),
                received=f"{count - self.room:,.0f} units and links more than that", way_out=SIZES,
            )  # fmt: skip

    @property
    def unrolled(self) -> bool:
        """Whether units are elements, not channels."""
        return self.resolution == "unrolled"

    def layer(self, count: int) -> tuple[LayerDraft, torch.Tensor]:
        """A new layer of ``count`` units and their ids (count,)."""
        self.take(count)
        path, called = self.place
        start = self.count + 1
        self.count += count
        layer = LayerDraft(path or called, called, start, start + count, module=path)
        self.layers.append(layer)
        return layer, torch.arange(layer.start, layer.stop)

    def source(self, name: str, shape: torch.Size, batch_axis: int | None) -> Units:
        """An input: one unit per element, the batch axis repeated."""
        sizes = [1 if axis == batch_axis else n for axis, n in enumerate(shape)]
        layer, ids = self.layer(int(np.prod(sizes)))
        layer.name, layer.operation = name, "input"
        self.sources.append(ids)
        return Units(ids.reshape(sizes).expand(shape))

"""Masks that live on a GPU, swept there: their liveness and their sparsity, without a copy from the host."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from graphsparse.errors import MaskError
from graphsparse.given_masks import unknown_name
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.sparsity import Sparsity, counted
from graphsparse.sweep import Reach, sweep
from graphsparse.training.device_algebra import OnDevice


class DeviceSweep:
    """Sweeps a graph under masks that live on a device, as often as they change, without a copy from the host.

    Args:
        graph: as `graphsparse.export` gives it; its own masks of biases and scales hold.
        device: where the masks are, for example ``"cuda"``.

    Example:
        >>> import torch, graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> swept = DeviceSweep(gs.export(layers, torch.zeros(1, 2), {}), "cpu")
        >>> masks = {"0.weight": torch.ones(2, 2).bool(), "1.weight": torch.tensor([[True, False]])}
        >>> swept.effective_masks(masks)["0.weight"].tolist()
        [[True, True], [False, False]]
        >>> swept.sparsity(masks)
        Sparsity(direct=0.166667 (1.2x), effective=0.500000 (2.0x), connections=6, kept=5, active=3)
    """

    def __init__(self, graph: LayeredGraph, device: torch.device | str):
        self.graph, self.algebra = checked_graph(graph), OnDevice(device)

    def effective_masks(self, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The active connections of every parameter, bool tensors on the device.

        ``masks``: bool tensors on the device by parameter, in its shape; a parameter without one keeps what it keeps in
        the graph.

        Raises:
            MaskError: a name or a shape is not the graph's, or a mask is not boolean or lies elsewhere.
        """
        return self._swept(self._values(masks)).connections()

    def sparsity(self, masks: Mapping[str, torch.Tensor]) -> Sparsity:
        """Direct and effective sparsity under the masks, as `graphsparse.sparsity` gives it.

        Only counts, and two booleans of each unit, come back from the device.
        """
        values = self._values(masks)
        found = self._swept(values)
        kept = torch.stack([(value > 0).sum() for value in values.values()])
        active = torch.stack([mask.sum() for mask in found.connections().values()])
        counts = torch.stack([kept, active]).tolist()
        return counted(found, *(dict(zip(self.graph.shapes, each, strict=True)) for each in counts))

    def _swept(self, values: Mapping[str, torch.Tensor]) -> Reach:
        with torch.no_grad():
            return sweep(self.graph, values, self.algebra)

    def _values(self, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        named = {self.graph.aliases.get(name, name): self._checked(name, mask) for name, mask in masks.items()}
        return {
            name: named[name].to(self.algebra.dtype) if name in named else self.algebra.of_mask(self.graph.kept[name])
            for name in self.graph.shapes
        }

    def _checked(self, name: str, mask: torch.Tensor) -> torch.Tensor:
        shape = self.graph.shapes.get(self.graph.aliases.get(name, name))
        if shape is None:
            raise unknown_name("masks must go by the graph's parameters", name, self.graph.shapes)
        if mask.dtype != torch.bool or tuple(mask.shape) != tuple(shape):
            raise MaskError(
                f"a mask must be a bool tensor of shape {tuple(shape)}", place=name,
                received=f"{mask.dtype} {tuple(mask.shape)}", way_out="compare with zero, for example weight != 0",
            )  # fmt: skip
        if mask.device.type != self.algebra.device.type:
            raise MaskError(
                "masks must lie on the device of the sweep", place=name, received=mask.device,
                way_out=f"move them to {self.algebra.device}, or sweep on {mask.device}",
            )  # fmt: skip
        return mask

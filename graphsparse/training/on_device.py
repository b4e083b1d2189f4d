"""Masks that live on a GPU, swept there: their liveness and their sparsity, without a copy from the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod

import torch

from graphsparse.blocks import State
from graphsparse.errors import ArgumentError, MaskError
from graphsparse.given_masks import unknown_name
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.sparsity import Sparsity, counted
from graphsparse.sweep import Reach, sweep
from graphsparse.training.device_algebra import OnDevice
from graphsparse.training.recorded import Recorded

Masks = Mapping[str, torch.Tensor]


class DeviceSweep:
    """Sweeps a graph under masks that live on a device, as often as they change, without a copy from the host.

    Args:
        graph: as `graphsparse.export` gives it; its own masks of biases and scales hold.
        device: where the masks are, for example ``"cuda"``.
        replay: record the sweep as a CUDA graph, and replay it for later masks of the same parameters. On a large GPU the
            operations of a sweep take less time than Python needs to start them; a replay starts them all at once. It holds
            the memory of one sweep.

    Raises:
        ArgumentError: ``replay`` without a CUDA device.

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

    def __init__(self, graph: LayeredGraph, device: torch.device | str, *, replay: bool = False):
        self.graph, self.algebra, self.replay = checked_graph(graph), OnDevice(device), replay
        self._recorded: dict[tuple[str, ...], Recorded] = {}
        if replay and (self.algebra.device.type == "cpu" or not torch.cuda.is_available()):
            raise ArgumentError(
                "a sweep must be on a CUDA device to be replayed",
                received=self.algebra.device,
                way_out="leave out replay",
            )

    def effective_masks(self, masks: Masks) -> dict[str, torch.Tensor]:
        """The active connections of every parameter, bool tensors on the device.

        ``masks``: bool tensors on the device by parameter, in its shape; a parameter without one keeps what it keeps in
        the graph.

        Raises:
            MaskError: a name or a shape is not the graph's, or a mask is not boolean or lies elsewhere.
        """
        return self._active(self._found(self._checked(masks))[2])

    def sparsity(self, masks: Masks) -> Sparsity:
        """Direct and effective sparsity under the masks, as `graphsparse.sparsity` gives it.

        Only counts, and two booleans of each unit, come back from the device.
        """
        given = self._checked(masks)
        signal, reach, active = self._found(given)
        counts = torch.stack([mask.sum() for mask in (*given.values(), *self._active(active).values())]).tolist()
        kept = {name: mask.count() for name, mask in self.graph.kept.items() if name in self.graph.shapes}
        kept.update(zip(given, counts))
        found = Reach(self.graph, {}, self.algebra, State(signal, None, self.algebra.conditions), reach)
        return counted(found, kept, dict(zip(self.graph.shapes, counts[len(given) :], strict=True)))

    def _active(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """The active connections of each parameter, of those of all one after the other."""
        parts = flat.split([prod(shape) for shape in self.graph.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.graph.shapes.items(), parts, strict=True)}

    def _found(self, masks: Masks) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What a sweep under the masks finds, see `_swept`."""
        names, kept = tuple(masks), list(masks.values())
        if not self.replay or not kept:
            return self._swept(names, kept)
        if names not in self._recorded:
            self._recorded[names] = Recorded(partial(self._swept, names), kept)
        return self._recorded[names](kept)

    def _swept(
        self, names: Sequence[str], masks: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What reaches each unit from the sources, what each reaches of the sinks, and the active connections, flat."""
        given = [torch.empty(mask.shape, dtype=self.algebra.dtype, device=mask.device) for mask in masks]
        torch._foreach_copy_(given, list(masks))  # on a GPU a single operation
        values = {name: self.algebra.of_mask(self.graph.kept[name]) for name in self.graph.shapes if name not in names}
        with torch.no_grad():
            found = sweep(self.graph, {**values, **dict(zip(names, given))}, self.algebra)
            active = [mask.reshape(-1) for mask in found.connections().values()]
            return found.state.signal, found.reach, torch.cat(active)

    def _checked(self, masks: Masks) -> dict[str, torch.Tensor]:
        """The masks by the names of the graph's parameters."""
        return {self.graph.aliases.get(name, name): self._fitting(name, mask) for name, mask in masks.items()}

    def _fitting(self, name: str, mask: torch.Tensor) -> torch.Tensor:
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

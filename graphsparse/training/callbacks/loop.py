"""What happens beside training: masks change by a schedule, sparsities are logged, and what collapses is said."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from graphsparse.capture import Network, export
from graphsparse.errors import GraphsparseError
from graphsparse.measures.sparsity import Sparsity, sparsity, sparsity_of
from graphsparse.networks import network
from graphsparse.training.changes import Change
from graphsparse.training.keep import keep_masks
from graphsparse.training.kept import unwrapped
from graphsparse.training.kept_masks import KeptMasks
from graphsparse.training.lora import base_names, is_adapted, merge_lora
from graphsparse.training.on_device import DeviceSweep

Numbers = dict[str, float]


class Scheduled(Protocol):
    """What changes masks while training: `Gradual`, `Dynamic`."""

    def at(self, step: int) -> Change | None:
        """What is to happen after this step."""


MakeSchedule = Callable[[KeptMasks, Network], Scheduled]


class Collapsed(UserWarning):
    """A parameter has no active connection left."""


class Loop:
    """What to do after each step of a plain loop; call `at` with the number of the step.

    Args:
        handle: of `graphsparse.keep_masks`.
        network: of `graphsparse.network`, made of the module that is trained or of a copy of it; None logs direct sparsity
            alone.
        schedule: a `Gradual` or `Dynamic`, or nothing.
        every: steps between two measurements; masks that change are measured at once.
        by_layer: log each parameter too.
        on_collapse: "warn" once, or "stop": then ``stop`` is True, and trainers end.
        names: what the network calls parameters that the handle calls otherwise.
        sweep: sweeps the masks where they are; one is made where they are on a GPU.
        log: called with the numbers and the step, as ``lambda numbers, step: wandb.log(numbers, step=step)``.

    ``changes`` holds what the schedule did. ``collapsed`` names the parameters that had nothing active at the last look.

    Example:
        >>> import torch, graphsparse as gs
        >>> model, x = torch.nn.Linear(4, 2, bias=False), torch.ones(1, 4)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = Loop(gs.keep_masks(model, {"weight": torch.eye(2, 4) > 0}, optimizer), gs.network(model, x), every=2)
        >>> for step in range(1, 3):
        ...     optimizer.zero_grad(); model(x).sum().backward(); optimizer.step()
        ...     numbers = loop.at(step)
        >>> numbers
        {'sparsity/direct': 0.75, 'sparsity/effective': 0.75}
    """

    def __init__(
        self, handle: KeptMasks, network: Network | None = None, schedule: Scheduled | None = None, *, every: int = 100,
        by_layer: bool = False, on_collapse: str = "warn", log: Callable[[Mapping[str, float], int], Any] | None = None,
        names: Mapping[str, str] | None = None, sweep: DeviceSweep | None = None,
    ):  # fmt: skip
        if on_collapse not in ("warn", "stop"):
            raise GraphsparseError("on_collapse must be 'warn' or 'stop'", received=repr(on_collapse))
        if schedule is not None and network is None:
            raise GraphsparseError(
                "a schedule must have a network", received="none", way_out="give graphsparse.network(model, x)"
            )
        self.handle, self.network, self.schedule, self.every = handle, network, schedule, every
        self.by_layer, self.on_collapse, self.log = by_layer, on_collapse, log
        self.names, self.sweep = dict(names or {}), sweep
        self.changes: list[Change] = []
        self.collapsed: tuple[str, ...] = ()
        self.stop = False

    def at(self, step: int) -> Numbers:
        """Change masks if that is due, and measure if that is; returns the numbers to log, none where none are due."""
        change = self.schedule.at(step) if self.schedule is not None else None
        if change is not None:
            self.changes.append(change)
        elif step % self.every:
            return {}
        numbers = self.measure()
        if change is not None:
            numbers["sparsity/died"] = float(sum(change.died.values()))
        if self.log is not None:
            self.log(numbers, step)
        return numbers

    def measure(self) -> Numbers:
        """The sparsities now, by names for loggers. Warns of parameters that have collapsed, or asks to stop."""
        masks = {self.names.get(name, name): mask for name, mask in self.handle.masks.items()}
        if self.network is None:
            return _direct(masks, self.by_layer)
        found = self._swept(self.network, masks)
        self._say(found)
        numbers = {"sparsity/direct": found.direct, "sparsity/effective": found.effective}
        for name, row in found.rows.items() if self.by_layer else ():
            numbers.update({f"sparsity/{kind}/{name}": row[kind] for kind in ("direct", "effective")})
        return numbers

    def _swept(self, network: Network, masks: Mapping[str, torch.Tensor]) -> Sparsity:
        """The sparsity, found where the masks are: on a GPU they are swept there."""
        device = next((mask.device for mask in masks.values()), torch.device("cpu"))
        if self.sweep is None and device.type != "cpu":
            self.sweep = DeviceSweep(export(network, {}), device)
        if self.sweep is None or not self.sweep.graph.shapes.keys() >= masks.keys():  # masks of biases are of the graph
            return sparsity(export(network, masks))
        return self.sweep.sparsity(masks)

    def _say(self, found: Sparsity) -> None:
        new = [name for name in found.collapsed if name not in self.collapsed]
        self.collapsed = found.collapsed
        if not new:
            return
        self.stop = self.stop or self.on_collapse == "stop"
        empty = [name for name in new if found.rows[name]["kept"] == 0]  # these cut the others off
        listed = [*empty, *(name for name in new if name not in empty)]
        named = ", ".join(listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
        warnings.warn(f"no active connection is left in {named}; {found.lines()[1]}", Collapsed, stacklevel=3)


def _direct(masks: Mapping[str, Any], by_layer: bool) -> Numbers:
    counts = {name: (int(mask.sum()), mask.numel()) for name, mask in masks.items() if mask.dim() > 1}
    kept, entries = (sum(count[place] for count in counts.values()) for place in (0, 1))
    by_name = {f"sparsity/direct/{name}": sparsity_of(*count) for name, count in counts.items()}
    return {"sparsity/direct": sparsity_of(kept, entries), **(by_name if by_layer else {})}


class Trained:
    """What callbacks of trainers share: masks that are given early, and begin when the trainer has its model ready.

    Of a model with PEFT's adapters the masks are the base's, by its names, and the sparsity is that after `merge_lora`.
    """

    def __init__(
        self, masks: Mapping[str, Any] | None, example_inputs: Any, network: Network | None,
        schedule: MakeSchedule | None, **options: Any,
    ):  # fmt: skip
        if schedule is not None and example_inputs is None and network is None:
            raise GraphsparseError(
                "a schedule must have example inputs", received="none", way_out="give example_inputs="
            )
        self.masks, self.example_inputs, self.schedule = dict(masks or {}), example_inputs, schedule
        self.network = network
        self.options = options
        self.loop: Loop | None = None

    def _begin(self, model: nn.Module) -> Loop:
        """Keep the masks, whatever optimiser steps. Without a network or inputs for one direct sparsity is logged alone."""
        model, inputs = unwrapped(model), self.example_inputs
        inside = base_names(model)
        handle = keep_masks(model, {inside.get(name, name): mask for name, mask in self.masks.items()})
        names, found = {there: name for name, there in inside.items()}, self.network
        if found is None and inputs is not None:
            plain = merge_lora(copy.deepcopy(model), self.masks).model if is_adapted(model) else model
            found = network(plain, kwargs=inputs) if isinstance(inputs, Mapping) else network(plain, inputs)
        made = self.schedule(handle, found) if self.schedule is not None and found is not None else None
        self.loop = Loop(handle, found, made, names=names, **self.options)
        return self.loop

    def _end(self) -> None:
        if self.loop is not None:
            self.masks = self.loop.handle.masks
            self.loop.handle.remove()
            self.loop = None

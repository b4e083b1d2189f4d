"""Constants that dropped connections carried, and which of them a bias can take over.

A dropped connection whose origin is a constant still adds to its target. Where the target reaches a sink, that amount is
added to the target's bias. The connection is kept where there is no bias, or where the amount is not the same at every
position and for every input (next to zero padding). Each unit's value then stays what it was, so all amounts can be
measured at once, on the network as it was.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.surgery.checking import Inputs, run
from graphsparse.sweep import sweep

KERNELS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TOLERANCE = 1e-9  # relative, of sums in float64: beyond it an amount is not constant


@dataclass(frozen=True, eq=False)
class Folding:
    """Where constants go. ``biases``: what to add to each bias, float64, by its name. ``keep``: bool masks of the
    connections that must stay, by parameter. ``takers``: the bias that takes over the constants of each parameter."""

    biases: dict[str, torch.Tensor] = field(default_factory=dict)
    keep: dict[str, torch.Tensor] = field(default_factory=dict)
    takers: dict[str, str] = field(default_factory=dict)

    def keeping(self, wanted: Mapping[str, torch.Tensor]) -> Folding:
        """The same, but these connections stay too, and bring their constants themselves."""
        free = {self.takers[name] for name in wanted if name in self.takers}
        keep = {**self.keep, **{name: self.keep.get(name, mask) | mask for name, mask in wanted.items()}}
        return replace(self, keep=keep, biases={name: each for name, each in self.biases.items() if name not in free})


def carrying(graph: LayeredGraph, masks: Mapping[str, Mask]) -> dict[str, torch.Tensor]:
    """The kept connections that ``masks`` drop and that bring a constant to a unit that reaches a sink, by parameter."""
    dropped = {
        name: graph.kept[name].without(masks[name]) if name in masks else Mask.of(np.zeros(shape, bool))
        for name, shape in graph.shapes.items()
    }
    found = sweep(graph, graph.kept, states=True)
    by_use = {key: dropped[use.parameter].both(use.mask) for key, use in graph.uses.items() if use.parameter in dropped}
    connections = replace(found, values={**graph.kept, **dropped, **by_use}).connections(found.constant)
    return {name: torch.from_numpy(mask.unpack()) for name, mask in connections.items() if mask.count()}


@torch.no_grad()
def fold(
    model: nn.Module, inputs: Sequence[Inputs], found: Mapping[str, torch.Tensor], shared: Container[str]
) -> Folding:
    """Measure what the found connections add and say where it goes; those of ``shared`` parameters stay.

    ``model`` is a plain float64 copy in evaluation mode with its present masks applied; it is run on the inputs.
    """
    owners = {name: None if name in shared else _owner(model, name) for name in found}
    try:
        seen = _inputs_of([module for module in owners.values() if module is not None], model, inputs)
    except RuntimeError:  # operations that have no form in double precision: what cannot be measured stays
        return Folding(keep=dict(found))
    folding, names = Folding(), {id(parameter): name for name, parameter in model.named_parameters()}
    for name, mask in found.items():
        module = owners[name]
        bias = names.get(id(getattr(module, "bias", None)))
        if module is None or bias is None or module not in seen:
            folding.keep[name] = mask
            continue
        whole = torch.cat([_added(module, given, mask) for given in seen[module]], 1).cpu()
        constant = whole.amax(1) - whole.amin(1) <= TOLERANCE * whole.abs().amax(1)
        wanted = mask.flatten(1).any(1)
        if bool((wanted & ~constant).any()):
            folding.keep[name] = mask & ~constant.reshape(-1, *[1] * (mask.dim() - 1))
        if bool((wanted & constant).any()):
            folding.biases[bias] = torch.where(wanted & constant, whole[:, 0], 0.0)
            folding.takers[name] = bias
    return folding


def _owner(model: nn.Module, name: str) -> nn.Module | None:
    """The module of a plain kernel, where exactly one module holds the parameter."""
    path, _, leaf = name.rpartition(".")
    parameter = dict(model.named_parameters(remove_duplicate=False)).get(name)
    holders = [m for m in model.modules() for p in m._parameters.values() if p is parameter]
    module = model.get_submodule(path)
    return module if leaf == "weight" and type(module) in KERNELS and len(holders) == 1 else None


def _inputs_of(
    modules: list[nn.Module], model: nn.Module, inputs: Sequence[Inputs]
) -> dict[nn.Module, list[torch.Tensor]]:
    """What each module is given, in every use."""
    seen: dict[nn.Module, list[torch.Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda m, given: seen.setdefault(m, []).append(given[0])) for module in modules
    ]
    try:
        for given in inputs:
            run(model, given)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _added(module: nn.Module, given: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the masked connections add to each output channel, (channels, positions)."""
    kernel = module.get_parameter("weight")
    weight = torch.where(mask.to(kernel.device), kernel, 0.0)
    if isinstance(module, nn.Linear):
        return torch.atleast_2d(functional.linear(given, weight)).flatten(0, -2).t()
    batched = given if given.dim() == weight.dim() else given.unsqueeze(0)
    return module._conv_forward(batched, weight, None).transpose(0, 1).flatten(1)  # type: ignore[operator]

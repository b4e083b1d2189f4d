"""Constants that dropped connections carried, and which of them a bias can take over.

A dropped connection whose origin is a constant still adds to its target. Where the target reaches a sink that
contribution is folded into the target's bias, or, where it is not the same at every position and for every input (next
to zero padding) or there is no bias, the connection is kept. Each unit's value then stays what it was, so all
contributions can be read off the unchanged network at once.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.sweep import sweep

KERNELS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TOLERANCE = 1e-9  # relative, of sums in float64: beyond it a contribution is not one constant


@dataclass(frozen=True, eq=False)
class Folding:
    """``biases``: what to add to each bias, float64, by its name. ``keep``: bool masks of connections that must stay, by
    parameter. ``units``: (bias name, index, amount) of every folded unit."""

    biases: dict[str, torch.Tensor] = field(default_factory=dict)
    keep: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def units(self) -> list[tuple[str, int, float]]:
        return [(n, int(i), b[i].item()) for n, b in self.biases.items() for i in b.detach().nonzero()[:, 0]]


def carrying(graph: LayeredGraph, masks: Mapping[str, Mask]) -> dict[str, np.ndarray]:
    """The kept connections that ``masks`` drop and that bring a constant to a unit that reaches a sink, by parameter."""
    dropped = {
        name: graph.kept[name].without(masks[name]) if name in masks else Mask.of(np.zeros(shape, bool))
        for name, shape in graph.shapes.items()
    }
    found = sweep(graph, graph.kept, states=True)
    by_use = {key: dropped[use.parameter].both(use.mask) for key, use in graph.uses.items() if use.parameter in dropped}
    connections = replace(found, values={**graph.kept, **dropped, **by_use}).connections(found.constant)
    return {name: mask.unpack() for name, mask in connections.items() if mask.count()}


def fold(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    found: Mapping[str, np.ndarray],
    shared: Container[str],
) -> Folding:
    """Measure what the found connections contribute and say where it goes; those of ``shared`` parameters stay.

    ``model`` is a plain float64 copy in evaluation mode with its present masks applied; it is run twice, on the example
    inputs and on others.
    """
    folding = Folding()
    owners = {name: None if name in shared else _owner(model, name) for name in found}
    try:
        seen = _inputs_of(model, args, kwargs, {id(module): module for module in owners.values() if module is not None})
    except RuntimeError:  # operations that have no form in double precision: what cannot be measured stays
        return Folding(keep={name: torch.from_numpy(connections) for name, connections in found.items()})
    for name, connections in found.items():
        module, mask = owners[name], torch.from_numpy(connections)
        bias = None if module is None else _bias_name(model, module)
        if module is None or bias is None or not seen.get(id(module)):
            folding.keep[name] = mask
            continue
        amounts = [_contribution(module, x, mask) for x in seen[id(module)]]
        rows = _same_everywhere(amounts)
        wanted = mask.flatten(1).any(1)
        if bool((wanted & ~rows).any()):
            folding.keep[name] = mask & ~rows.reshape(-1, *[1] * (mask.dim() - 1))
        if bool((wanted & rows).any()):
            first = amounts[0][:, 0]
            folding.biases[bias] = torch.where(wanted & rows, first, torch.zeros_like(first))
    return folding


def _owner(model: nn.Module, name: str) -> nn.Module | None:
    """The module of a plain kernel, where exactly one module holds the parameter."""
    path, _, leaf = name.rpartition(".")
    parameter = dict(model.named_parameters(remove_duplicate=False)).get(name)
    holders = [m for m in model.modules() for p in m._parameters.values() if p is parameter]
    module = model.get_submodule(path) if path else model
    return module if leaf == "weight" and type(module) in KERNELS and len(holders) == 1 else None


def _bias_name(model: nn.Module, module: nn.Module) -> str | None:
    names = [name for name, parameter in model.named_parameters() if parameter is getattr(module, "bias", None)]
    return names[0] if names else None


def _inputs_of(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], modules: Mapping[int, nn.Module]
) -> dict[int, list[torch.Tensor]]:
    """What each module is given, in every use, for the example inputs and for random ones."""
    seen: dict[int, list[torch.Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda m, given: seen.setdefault(id(m), []).append(given[0].detach()))
        for module in modules.values()
    ]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for other in (False, True):
                model(*(_double(a, generator if other else None) for a in args),
                      **{k: _double(a, generator if other else None) for k, a in kwargs.items()})  # fmt: skip
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _double(value: Any, generator: torch.Generator | None) -> Any:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    value = value.detach().double()
    return value if generator is None else torch.randn(value.shape, generator=generator, dtype=torch.float64)


def _contribution(module: nn.Module, given: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the masked connections add to each output channel, (channels, positions)."""
    weight = torch.where(mask, module.weight, torch.zeros((), dtype=torch.float64))  # type: ignore[arg-type]
    if isinstance(module, nn.Linear):
        return functional.linear(given, weight).flatten(0, -2).t() if given.dim() > 1 else (weight @ given)[:, None]
    batched = given if given.dim() == weight.dim() else given.unsqueeze(0)
    return module._conv_forward(batched, weight, None).transpose(0, 1).flatten(1)  # type: ignore[operator]


def _same_everywhere(amounts: list[torch.Tensor]) -> torch.Tensor:
    """Which channels get one and the same amount at every position of every use."""
    whole = torch.cat(amounts, 1)
    largest = whole.abs().amax(1)
    return (whole.amax(1) - whole.amin(1)) <= TOLERANCE * largest

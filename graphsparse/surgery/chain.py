"""A network from a state dict alone, where its kernels follow each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from graphsparse.errors import ModelError

CONVOLUTIONS = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}


class Chain(nn.Module):
    """Kernels in the order of the state dict, relu between; the modules stand under the names of the checkpoint."""

    def __init__(self, kernels: Mapping[str, torch.Tensor], biases: Mapping[str, torch.Tensor], sites: int):
        super().__init__()
        self.order = []
        for name, weight in kernels.items():
            path = name.rpartition(".")[0] or "layer"
            bias = f"{name.rpartition('.')[0]}.bias" in biases
            self._place(path, _layer(weight, bias))
            self.order.append(path)
        self.sites = sites

    def _place(self, path: str, layer: nn.Module) -> None:
        parent: nn.Module = self
        *folders, leaf = path.split(".")
        for folder in folders:
            if folder not in parent._modules:
                parent.add_module(folder, nn.Module())
            parent = parent._modules[folder]  # type: ignore[assignment]
        parent.add_module(leaf, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layers in order."""
        for position, path in enumerate(self.order):
            layer = self.get_submodule(path)
            if isinstance(layer, nn.Linear) and x.dim() > 2:
                x = x.flatten(1)
            x = layer(x)
            if position + 1 < len(self.order):
                x = torch.relu(x)
        return x


def _layer(weight: torch.Tensor, bias: bool) -> nn.Module:
    with torch.device("meta"):
        if weight.dim() == 2:
            return nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
        convolution = CONVOLUTIONS[weight.dim()]
        return convolution(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), padding="same", bias=bias)


def build_chain(weights: Mapping[str, torch.Tensor], place: str) -> tuple[nn.Module, torch.Tensor, bool]:
    """The network, an example input, and whether it has convolutions (then only channel resolution means anything).

    Kernels are the floating tensors of two to five axes, in the file's order. Each must have as many inputs as the one
    before has outputs; between the last convolution and the first linear layer positions are flattened.

    Raises:
        ModelError: no kernels, or two that do not follow each other.
    """
    kernels = {n: t for n, t in weights.items() if t.is_floating_point() and 2 <= t.dim() <= 5}
    if not kernels:
        raise ModelError("a chain needs kernels", place=place, received="no tensor of two to five axes")
    sites, before = 1, None
    for name, weight in kernels.items():
        if before is not None:
            sites = max(sites, _sites(before, (name, weight)))
        before = (name, weight)
    chain = Chain(kernels, {n: t for n, t in weights.items() if t.dim() == 1}, sites)
    state = {key: weights[key if key in weights else key.removeprefix("layer.")] for key in chain.state_dict()}
    chain.load_state_dict(state, assign=True)
    first = next(iter(kernels.values()))
    shape = [1, first.shape[1]] + ([sites] + [1] * (first.dim() - 3) if first.dim() > 2 else [])
    return chain, torch.zeros(shape, dtype=first.dtype), any(t.dim() > 2 for t in kernels.values())


def _sites(before: tuple[str, torch.Tensor], after: tuple[str, torch.Tensor]) -> int:
    """How many positions of the kernel before are one input axis of the kernel after."""
    out, inputs = before[1].shape[0], after[1].shape[1]
    flattened = before[1].dim() > 2 and after[1].dim() == 2
    if out == inputs or (flattened and inputs % out == 0):
        return inputs // out
    raise ModelError(
        "in a chain each kernel has as many inputs as the one before has outputs",
        place=f"{before[0]} and {after[0]}",
        received=f"{out} outputs and {inputs} inputs",
        way_out="name the model as package.module:factory",
    )

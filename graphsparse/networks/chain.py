"""A network from a state dict alone, where its kernels follow each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from graphsparse.capture import Network
from graphsparse.errors import ModelError
from graphsparse.networks.configuration import WAY_OUT
from graphsparse.networks.models import holder

CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
_DEEPEST = 64  # modules in modules: torch walks through them by recursion
Tensors = Mapping[str, torch.Tensor]


class Chain(nn.Module):
    """Kernels one after the other, with relu between them. Each tensor has the name that it has in the checkpoint."""

    def __init__(self, kernels: Tensors, biases: Tensors):
        super().__init__()
        self._steps = [(name, bias_name(name) if bias_name(name) in biases else None) for name in kernels]
        for name, tensor in {**kernels, **biases}.items():
            if name.count(".") > _DEEPEST:
                raise ModelError(f"a chain's modules must lie at most {_DEEPEST} deep", place=name, way_out=WAY_OUT)
            try:
                parent, leaf = holder(self, name)
                parent.register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
            except (KeyError, AttributeError, TypeError) as error:
                rule = "a chain's tensors must have names that a module allows"
                raise ModelError(rule, place=name, way_out=WAY_OUT) from error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the kernels in order."""
        for position, (kernel, bias) in enumerate(self._steps):
            x = torch.relu(x) if position else x
            weight, added = self.get_parameter(kernel), self.get_parameter(bias) if bias else None
            if weight.dim() == 2:
                x = functional.linear(x.flatten(1), weight, added)
            else:
                x = CONVOLUTIONS[weight.dim()](x, weight, added, padding="same")
        return x


def build_chain(weights: Tensors, place: str) -> Network:
    """The network of a state dict whose kernels follow each other.

    Kernels are the floating tensors of two to five axes, in the file's order. Each has as many inputs as the one before
    has outputs; between the last convolution and the first linear layer positions are flattened. A chain with convolutions
    has a meaning in channel resolution alone, since strides, padding and pooling are not in a state dict.

    Raises:
        ModelError: there are no kernels, two do not follow each other, or a scale between them has zeros.
    """
    kernels = {n: t for n, t in weights.items() if t.is_floating_point() and 2 <= t.dim() <= 5}
    empty = [f"{name} of shape {tuple(tensor.shape)}" for name, tensor in kernels.items() if not tensor.numel()]
    if empty or not kernels:
        raise ModelError(
            "a chain must be made of kernels with entries", place=place, way_out=WAY_OUT,
            received=", ".join(empty[:3]) or "no floating tensor of two to five axes",
        )  # fmt: skip
    sites = max([1, *(_sites(before, after) for before, after in pairwise(kernels.items()))])
    biases = {bias_name(name): weights[bias_name(name)] for name in kernels if bias_name(name) in weights}
    for name, kernel in kernels.items():
        bias = biases.get(bias_name(name))
        if bias is not None and tuple(bias.shape) != (kernel.shape[0],):
            rule = "a bias must have an entry for each output of its kernel"
            raise ModelError(rule, place=bias_name(name), received=tuple(bias.shape), way_out=WAY_OUT)
    left_out = tuple(name for name in weights if name not in kernels and name not in biases)
    for name in left_out:
        if name.endswith("weight") and weights[name].is_floating_point() and bool((weights[name] == 0).any()):
            rule = "a chain's other tensors must cut no unit"
            raise ModelError(rule, place=name, received="a scale with zeros", way_out=WAY_OUT)
    first = next(iter(kernels.values()))
    shape = [1, first.shape[1]] + ([sites] + [1] * (first.dim() - 3) if first.dim() > 2 else [])
    dtypes = {tensor.dtype for tensor in (*kernels.values(), *biases.values())}
    alone = len(dtypes) == 1 and all(dtype.itemsize > 1 for dtype in dtypes)
    dtype = dtypes.pop() if alone else torch.float32  # only zeros matter, so single precision serves for all others
    chain = Chain(*({name: t.to(dtype) for name, t in part.items()} for part in (kernels, biases)))
    note = f"Read as a chain, in the file's order: {_few(list(kernels), ' > ')}."
    note += f" Left out: {_few(left_out, ', ')}." if left_out else ""
    return Network(chain, (torch.zeros(shape, dtype=dtype),), notes=(note,), channel_only=first.dim() > 2)


def bias_name(kernel: str) -> str:
    """Where the bias of a kernel is looked for: "fc1.bias" for "fc1.weight" or "fc1.kernel"."""
    folder, dot, leaf = kernel.rpartition(".")
    if "weight" in leaf:
        return folder + dot + leaf.replace("weight", "bias")
    return f"{folder}.bias" if dot else f"{leaf}_bias"


def _sites(before: tuple[str, torch.Tensor], after: tuple[str, torch.Tensor]) -> int:
    """How many positions of the kernel before make one input axis of the kernel after."""
    (name, kernel), (next_name, next_kernel) = before, after
    outputs, inputs = kernel.shape[0], next_kernel.shape[1]
    flattened = kernel.dim() > 2 and next_kernel.dim() == 2
    if (outputs == inputs and kernel.dim() == next_kernel.dim()) or (flattened and inputs % outputs == 0):
        return inputs // outputs
    raise ModelError(
        "in a chain each kernel must have as many inputs as the one before has outputs, and convolutions must come first",
        place=f"{name} and {next_name}", received=f"shapes {tuple(kernel.shape)} and {tuple(next_kernel.shape)}",
        way_out=WAY_OUT,
    )  # fmt: skip


def _few(names: list[str] | tuple[str, ...], joint: str) -> str:
    return joint.join([*names[:5], "..."] if len(names) > 5 else names)

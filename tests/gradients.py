"""torch as judge: with positive weights and inputs a kept weight is active exactly where its gradient is not zero."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

import graphsparse as gs


def positive(model: nn.Module, seed: int = 0) -> nn.Module:
    """A float64 copy in evaluation mode with positive kernels and zero biases."""
    twin = copy.deepcopy(model).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.copy_(torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5)
    return twin


def random_masks(shapes: Mapping[str, tuple[int, ...]], density: float, seed: int) -> dict[str, torch.Tensor]:
    """Independent masks of a density, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) < density for name, shape in shapes.items()}


def gradient_masks(model: nn.Module, masks: Mapping[str, torch.Tensor], inputs: tuple) -> dict[str, torch.Tensor]:
    """Where the gradient of the summed outputs is not zero, under the masks, for a model that `positive` made."""
    twin = copy.deepcopy(model)
    parameters = dict(twin.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask)
    outputs = torch.utils._pytree.tree_leaves(twin(*inputs))
    sum(output.sum() for output in outputs).backward()
    return {
        name: (parameters[name].grad != 0) & mask for name, mask in masks.items() if parameters[name].grad is not None
    }


def assert_judged(model: nn.Module, *shapes: tuple[int, ...], densities=(0.6, 0.3, 0.1), seed: int = 0) -> None:
    """The effective masks of the model under random masks equal torch's, to the last connection; channel keeps more."""
    twin = positive(model, seed)
    generator = torch.Generator().manual_seed(seed)
    inputs = tuple(torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5 for shape in shapes)
    whole = gs.export(twin, inputs, {})
    channel = gs.export(twin, inputs, {}, resolution="channel")
    for number, density in enumerate(densities):
        masks = random_masks(whole.shapes, density, seed + number)
        found, judged = gs.effective_masks(whole.with_masks(masks)), gradient_masks(twin, masks, inputs)
        coarse = gs.effective_masks(channel.with_masks(masks))
        assert set(found) == set(judged)
        for name in judged:
            assert torch.equal(found[name], judged[name]), (name, density)
            assert not bool((found[name] & ~coarse[name]).any()), (name, density)


def assert_idempotent(graph: gs.LayeredGraph) -> None:
    """Effective masks of effective masks are the same masks."""
    once = gs.effective_masks(graph)
    twice = gs.effective_masks(graph.with_masks(once))
    for name in once:
        np.testing.assert_array_equal(once[name].numpy(), twice[name].numpy())

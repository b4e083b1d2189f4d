"""What tests of compaction share: random masked models, and the judge of whether two models compute the same."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.compaction import Compacted


def drawn(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights, biases and shifts of either sign, in double precision and evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.4)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(generator=generator)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2, generator=generator)
    return model


def masks_of(model: nn.Module, density: float, rows: float = 1.0, seed: int = 1) -> dict[str, torch.Tensor]:
    """Random masks, and whole rows without anything: a share of ``rows`` keeps some."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            kept = torch.rand(len(parameter), generator=generator) < rows
            mask = torch.rand(parameter.shape, generator=generator) < density
            found[name] = mask & kept.reshape(-1, *[1] * (parameter.dim() - 1))
    return found


def masked(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """A copy whose weights are zero where masks say so."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in masks:
                parameter.copy_(torch.where(masks[name], parameter, 0.0))
    return model


def others(inputs, seed: int, samples: int, vocabulary: int = 9):
    """Other numbers and tokens, of so many samples."""
    generator = torch.Generator().manual_seed(seed)

    def other(leaf):
        shape = (samples, *leaf.shape[1:])
        if leaf.is_floating_point():
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(leaf.dtype)
        return torch.randint(0, vocabulary, shape, generator=generator)

    return tree_map(lambda leaf: other(leaf) if isinstance(leaf, torch.Tensor) else leaf, inputs)


def assert_same(
    model: nn.Module, other: nn.Module, args=(), kwargs=None, *, tolerance: float = 1e-10, samples: int = 3
) -> None:
    """Both models give the same in evaluation mode, on several inputs, relative to the largest output."""
    model, other = copy.deepcopy(model).eval(), copy.deepcopy(other).eval()
    for seed in range(3):
        given, named = others((args, kwargs or {}), 70 + seed, samples)
        with torch.no_grad():
            pairs = zip(tree_leaves(model(*given, **named)), tree_leaves(other(*given, **named)), strict=True)
        for one, two in pairs:
            if isinstance(one, torch.Tensor) and one.is_floating_point():
                assert one.shape == two.shape
                apart, largest = float((one - two).abs().max()), float(one.abs().max())
                assert apart <= tolerance * largest, f"{apart} apart, the largest is {largest}"


def why(compacted: Compacted) -> dict[str, int]:
    """How many dead units stay for each reason."""
    found: dict[str, int] = {}
    for text in compacted.report.frame["why"]:
        for part in filter(None, text.split(", ")):
            reason, count = part.rsplit(" ", 1)
            found[reason] = found.get(reason, 0) + int(count)
    return found

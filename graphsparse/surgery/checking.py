"""Whether two models compute the same, on several inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.quiet import same_random_state
from graphsparse.errors import brief

SAMPLES = 3
TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of a call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
        """The same with every tensor changed."""
        args, kwargs = tree_map(
            lambda leaf: change(leaf) if isinstance(leaf, torch.Tensor) else leaf, (self.args, dict(self.kwargs))
        )
        return Inputs(args, kwargs)

    def double(self) -> Inputs:
        """In double precision."""
        return self.map(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf)


@torch.no_grad()
def run(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    """The tensors that a model returns. It gets copies of its inputs, since its code may write into them, and draws the same
    random numbers each time."""
    own = inputs.map(torch.clone)
    with same_random_state():
        torch.manual_seed(0)
        made = model(*own.args, **own.kwargs)
    return [leaf for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]


def several(model: nn.Module, example: Inputs, batch_axis: int | None) -> list[Inputs]:
    """The example and two random inputs, each of three samples where the model takes so many."""
    generator = torch.Generator().manual_seed(0)
    found = [example]
    for _ in range(2):
        for samples in (SAMPLES, None):
            other = example.map(lambda leaf: _other(leaf, samples, batch_axis, generator))
            with suppress(Exception):  # the batch size is written into the model's code
                run(model, other)
                found.append(other)
                break
    return found


def _other(leaf: torch.Tensor, samples: int | None, axis: int | None, generator: torch.Generator) -> torch.Tensor:
    """Random numbers in place of an input; of integers random ones among its own."""
    shape = list(leaf.shape)
    if samples is not None and axis is not None and leaf.dim() > axis:
        shape[axis] = samples
    if leaf.is_floating_point():
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(leaf.dtype).to(leaf.device)
    if leaf.numel() == 0:
        return leaf
    flat = leaf.reshape(-1)
    chosen = torch.randint(len(flat), (int(torch.Size(shape).numel()),), generator=generator)
    return flat[chosen.to(flat.device)].reshape(shape)


def difference(outputs: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """The largest difference, relative to the largest output. Infinite where shapes differ, or only one of two is finite."""
    if [one.shape for one in outputs] != [two.shape for two in others]:
        return float("inf")
    worst = 0.0
    for one, two in zip(outputs, others, strict=True):
        if not one.is_floating_point():
            worst = max(worst, 0.0 if torch.equal(one, two) else float("inf"))
            continue
        odd = ~torch.isfinite(one)
        if not torch.equal(odd, ~torch.isfinite(two)):
            return float("inf")
        apart = (one - two).abs().masked_fill(odd, 0).max().item() if one.numel() else 0.0
        largest = one.abs().masked_fill(odd, 0).max().item() if one.numel() else 0.0
        worst = max(worst, apart / largest if largest > 0 else float("inf") if apart else 0.0)
    return worst


def worst_difference(model: nn.Module, expected: list[list[torch.Tensor]], inputs: list[Inputs]) -> tuple[float, str]:
    """The largest difference from what is expected; infinite, with the error as text, where the model does not run."""
    worst = 0.0
    for given, outputs in zip(inputs, expected, strict=True):
        try:
            worst = max(worst, difference(outputs, run(model, given)))
        except Exception as error:  # the model's own code, with widths that it has not met
            return float("inf"), brief(error)
    return worst, ""

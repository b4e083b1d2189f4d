"""What graphsparse asks of optimisers: which parameters they hold, and zeros in what they remember of them."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

import torch
from torch.optim import LBFGS, Optimizer

from graphsparse.errors import GraphsparseError
from graphsparse.training.kept import local
from graphsparse.training.zeroing import Pair

STAY_ZERO = frozenset({
    "momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_avg_diff", "previous_grad", "sum", "square_avg",
    "acc_delta", "grad_avg", "step",
})  # fmt: skip
"""State that stays zero by itself where gradients are zero. Any other of the parameter's shape is zeroed after each step."""


def torch_optimisers(given: Any) -> list[Optimizer]:
    """The optimisers themselves: taken out of lists and of the wrappers of trainers, which have ``.optimizer``.

    Raises GraphsparseError for what is none.
    """
    if given is None:
        return []
    if isinstance(given, (list, tuple)):
        return [each for one in given for each in torch_optimisers(one)]
    inner = given
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    if not isinstance(inner, Optimizer):
        raise GraphsparseError(
            "an optimizer must be one of torch.optim or a subclass", received=type(given).__name__,
            way_out="leave optimizer out, and call handle.apply() after each step of your own optimiser",
        )  # fmt: skip
    return [inner]


def must_hold_one(optimisers: list[Optimizer], masked: set[int]) -> None:
    """Raises unless each optimiser holds a parameter that has a mask, by their ids."""
    for optimizer in optimisers:
        if masked and not any(id(parameter) in masked for parameter in parameters_of(optimizer)):
            raise GraphsparseError(
                "an optimizer must hold a parameter that has a mask", place=type(optimizer).__name__,
                received="one that holds other parameters or copies of them",
                way_out="give the optimizer of this model; for one that holds copies (master weights) leave it out, and "
                "call handle.apply() after each step",
            )  # fmt: skip


def parameters_of(optimizer: Optimizer) -> Iterator[torch.Tensor]:
    """Every parameter that an optimiser holds."""
    for group in optimizer.param_groups:
        yield from group["params"]


def remembered(
    optimizer: Optimizer, masks: Mapping[torch.Tensor, torch.Tensor], but: Container[str] = ()
) -> Iterator[Pair]:
    """State of the shape of its parameter, without that of the names in ``but``; each with the parameter's mask."""
    for parameter, mask in masks.items():
        for name, value in optimizer.state.get(parameter, {}).items():
            if name not in but and isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                yield local(value), local(mask)


def forget_directions(optimizer: Optimizer) -> None:
    """Let LBFGS begin anew: what it remembers of the curvature is that of a space with other axes."""
    if isinstance(optimizer, LBFGS):
        optimizer.state.clear()

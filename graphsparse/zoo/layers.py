"""Named kernels with or without batch norm, and the paper's initialisation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import torch
from torch import nn

NamedModules = Iterator[tuple[str, nn.Module]]


def convolution(
    label: str, wide_in: int, wide_out: int, kernel: int, *, batch_norm: bool, stride: int = 1, padding: int = 0
) -> NamedModules:
    """Yield ``conv<label>`` and, if asked for, ``norm<label>``, whose shift then stands for the kernel's bias."""
    yield f"conv{label}", nn.Conv2d(wide_in, wide_out, kernel, stride, padding, bias=not batch_norm)
    if batch_norm:
        yield f"norm{label}", nn.BatchNorm2d(wide_out)


def linear(label: str, wide_in: int, wide_out: int, *, batch_norm: bool) -> NamedModules:
    """Yield ``fc<label>`` and, if asked for, ``fcnorm<label>``."""
    yield f"fc{label}", nn.Linear(wide_in, wide_out, bias=not batch_norm)
    if batch_norm:
        yield f"fcnorm{label}", nn.BatchNorm1d(wide_out)


def chain(*parts: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    """Join named modules, in order, to one sequential network."""
    return nn.Sequential(OrderedDict(pair for part in parts for pair in part))


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw every kernel from a normal of variance 2 / mean(fan-in, fan-out), set biases to zero, leave norms alone.

    One generator serves all kernels in their order, so a seed names one network whatever was drawn before.
    Source: Vysogorets and Kempe 2023, section 4 (Glorot's mean of the fans with He's variance of 2).
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(module.weight, gain=2**0.5, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

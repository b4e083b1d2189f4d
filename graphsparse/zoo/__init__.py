"""The five architectures of the effective-sparsity paper, and the two small networks of the demo.

Every name is a factory without needed arguments, so ``--model graphsparse.zoo:vgg19`` works on the command line.
``named_parameters()`` lists a network's kernels in the order in which it computes them. In a residual block the kernel of
the skip comes last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from graphsparse.errors import ModelError
from graphsparse.zoo.networks import digits_conv, digits_mlp, initialise, lenet5, lenet300100, resnet18, vgg16, vgg19

__all__ = [
    "ARCHITECTURES", "DIGITS", "Architecture", "build", "digits_conv", "digits_mlp", "initialise", "input_shape",
    "lenet5", "lenet300100", "resnet18", "vgg16", "vgg19",
]  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A network's factory and the shape of one input, without the batch axis."""

    factory: Callable[..., nn.Module]
    input_shape: tuple[int, ...]


ARCHITECTURES = {
    "lenet300100": Architecture(lenet300100, (1, 28, 28)),
    "lenet5": Architecture(lenet5, (3, 32, 32)),
    "vgg16": Architecture(vgg16, (3, 32, 32)),
    "vgg19": Architecture(vgg19, (3, 32, 32)),
    "resnet18": Architecture(resnet18, (3, 64, 64)),
}
DIGITS = {
    "digits_mlp": Architecture(digits_mlp, (1, 8, 8)),
    "digits_conv": Architecture(digits_conv, (1, 8, 8)),
}


def build(name: str, seed: int = 0, **options: bool) -> nn.Module:
    """Build an architecture, in training mode, with the paper's initialisation; torch's own random state stays as it was.

    ``options`` go to the factory. ``batch_norm=True`` (the default of VGG and ResNet) puts a batch norm after every
    kernel, the last one too, in place of the biases. With ``False`` there are biases, which are zero.
    Raises ModelError for a name that is not in ``ARCHITECTURES`` or ``DIGITS``.

    Example:
        >>> sum(p.numel() for p in build("lenet300100").parameters() if p.dim() > 1)
        266200
    """
    factory = _architecture(name).factory
    with torch.random.fork_rng(devices=[]):
        model = factory(**options)
    initialise(model, seed)
    return model


def input_shape(name: str) -> tuple[int, ...]:
    """Return the shape of one input without the batch axis: ``torch.zeros(1, *input_shape("vgg19"))`` fits VGG-19.

    Example:
        >>> input_shape("resnet18")
        (3, 64, 64)
    """
    return _architecture(name).input_shape


def _architecture(name: str) -> Architecture:
    known = {**ARCHITECTURES, **DIGITS}
    if name not in known:
        raise ModelError(
            "an architecture must be one of the zoo", place="name", received=repr(name),
            way_out="take one of " + ", ".join(known),
        )  # fmt: skip
    return known[name]

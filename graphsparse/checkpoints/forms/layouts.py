"""Keras and Flax lay kernels out the other way round: (in, out), (height, width, in, out)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Turn = Callable[[torch.Tensor], torch.Tensor]


def to_torch(kernel: torch.Tensor) -> torch.Tensor:
    """Returns a kernel (spatial..., in, out) as torch has it, (out, in, spatial...): a view; other ranks as they are.

    A transposed convolution's (spatial..., out, in) becomes torch's (in, out, spatial...) by the same move.
    """
    if kernel.dim() < 2:
        return kernel
    spatial = range(kernel.dim() - 2)
    return kernel.permute(kernel.dim() - 1, kernel.dim() - 2, *spatial)


def shape_from_torch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that ``to_torch`` makes this one of."""
    return shape if len(shape) < 2 else (*shape[2:], shape[1], shape[0])


def depthwise_to_torch(kernel: torch.Tensor) -> torch.Tensor:
    """Returns a kernel (height, width, in, multiplier) as torch has it, (in * multiplier, 1, height, width)."""
    if kernel.dim() != 4:
        return to_torch(kernel)
    height, width, channels, multiplier = kernel.shape
    return kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


# What torch calls the parameters of those libraries, and what lays them out as torch does.
_PARAMETERS: Mapping[str, tuple[str, Turn | None]] = {
    "kernel": ("weight", to_torch), "depthwise_kernel": ("weight", depthwise_to_torch), "embedding": ("weight", None),
    "embeddings": ("weight", None), "scale": ("weight", None), "gamma": ("weight", None), "bias": ("bias", None),
    "beta": ("bias", None),
}  # fmt: skip


def torch_name(name: str) -> tuple[str, Turn | None]:
    """Returns the name as torch would have it, and what lays the array out as torch does (None: it is already).

    Example:
        >>> torch_name("encoder/dense_1/kernel:0")[0]
        'encoder.dense_1.weight'
    """
    *module, variable = name.rsplit(":", 1)[0].replace("/", ".").split(".")
    parameter, turn = _PARAMETERS.get(variable, (variable, None))
    return ".".join([*module, parameter]), turn

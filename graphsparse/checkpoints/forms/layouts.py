"""Keras and Flax lay kernels out the other way round: (in, out), (height, width, in, out)."""

from __future__ import annotations

import torch

# How those libraries call what torch calls weight and bias, and whether it is laid out the other way round.
_PARAMETERS = {
    "kernel": ("weight", True), "depthwise_kernel": ("weight", True), "embedding": ("weight", False),
    "embeddings": ("weight", False), "scale": ("weight", False), "gamma": ("weight", False), "bias": ("bias", False),
    "beta": ("bias", False),
}  # fmt: skip
KERNEL_NAMES = ("kernel", "depthwise_kernel")


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
    """Returns a depthwise kernel (height, width, in, multiplier) as torch has it, (in * multiplier, 1, height, width)."""
    if kernel.dim() != 4:
        return to_torch(kernel)
    height, width, channels, multiplier = kernel.shape
    return kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def last_part(name: str) -> str:
    """What a variable is called in its layer: ``kernel`` of ``dense/kernel:0``."""
    return _parts(name)[-1]


def torch_name(name: str) -> tuple[str, bool]:
    """Returns the name as torch would have it, and whether the array is laid out the other way round.

    Example:
        >>> torch_name("encoder/dense_1/kernel:0")
        ('encoder.dense_1.weight', True)
    """
    *module, variable = _parts(name)
    parameter, turned = _PARAMETERS.get(variable, (variable, False))
    return ".".join([*module, parameter]), turned


def _parts(name: str) -> list[str]:
    return name.rsplit(":", 1)[0].replace("/", ".").split(".")

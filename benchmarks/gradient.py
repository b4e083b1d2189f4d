"""The paper's method, written as well as we can: one gradient of the linearised network with weights of one, float64.

Activations, batch norm and biases are left out, maximum pooling is average pooling (which changes nothing of what is
active), and each block's output is scaled to keep sums of paths within float64. The kernels are the masks themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

VGG19 = (2, 2, 4, 4, 4)


def vgg_masks(
    masks: Mapping[str, torch.Tensor], blocks: tuple[int, ...] = VGG19, size: int = 32
) -> dict[str, torch.Tensor]:
    """Effective masks of a VGG by the gradient of its summed outputs."""
    kernels = [mask.to(torch.float64).requires_grad_() for mask in masks.values()]
    x, position = torch.ones(1, 3, size, size, dtype=torch.float64, device=kernels[0].device), 0
    for depth in blocks:
        for _ in range(depth):
            x = functional.conv2d(x, kernels[position], padding=1)
            position += 1
        x = functional.avg_pool2d(x, 2)
        x = x / x.detach().amax().clamp(min=1e-300)
    gradients = torch.autograd.grad((x.flatten(1) @ kernels[-1].t()).sum(), kernels)
    return {name: (gradient != 0) & mask for (name, mask), gradient in zip(masks.items(), gradients, strict=True)}

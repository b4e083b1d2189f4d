"""GraSP: connections without which the gradient would flow less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from graphsparse.pruning.losses import (
    Loss,
    batch_loss,
    cross_entropy,
    gradients,
    mean_gradients,
    mean_over,
    repeatable,
)
from graphsparse.pruning.rounds import rounded
from graphsparse.pruning.scratch import Masks, apply_masks, check_numbers, kernels, scratch, to_numpy, without_pruned


def grasp(
    model: nn.Module,
    parameters: Sequence[str],
    data: Iterable[Any] | None,
    *,
    loss: Loss = cross_entropy,
    temperature: float = 200.0,
    masks: Masks | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = torch.float64,
) -> dict[str, np.ndarray]:
    """weight x (H g), H and g the Hessian and gradient of the loss over the kernels. Greater is kept longer.

    Removing a weight w changes the squared norm of the gradient by -2 w (H g) to first order. The paper's score
    S(-w) = -w (H g) is large where removal raises it and removes the largest; here the sign is turned. Both H and g are
    averages over the batches; H g comes by differentiating twice, H is never formed. As in the paper's experiments
    outputs are divided by a temperature of 200.
    (Wang, Zhang, Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020, equation 8.)

    Arguments, precision and what is left untouched are as in `graphsparse.pruning.snip.snip`. Goes through the data
    twice: an iterator is read into memory, a loader that shuffles or augments draws anew.

    Returns:
        Float64 scores in the kernels' shapes, of either sign.
    """
    data = repeatable(data)
    with scratch(model, seed, dtype) as copy:
        weights = kernels(copy, parameters)
        apply_masks(weights, masks)
        product = _hessian_times_gradient(copy, list(weights.values()), data, loss, temperature)
        found = {name: to_numpy(weight * part, name) for (name, weight), part in zip(weights.items(), product)}
    return without_pruned({name: rounded(values) for name, values in check_numbers(found).items()}, masks)


def _hessian_times_gradient(
    model: nn.Module, weights: list[torch.Tensor], batches: Iterable[Any], loss: Loss, temperature: float
) -> list[torch.Tensor]:
    """The gradient is held fixed while its product with each batch's own gradient is differentiated."""
    fixed = mean_gradients(model, weights, batches, loss, temperature)

    def product(batch: Any) -> list[torch.Tensor]:
        found = gradients(batch_loss(model, batch, loss, temperature), weights, keep=True)
        return gradients(sum(((f * g).sum() for f, g in zip(fixed, found)), fixed[0].new_zeros(())), weights)

    return mean_over(batches, weights, product)

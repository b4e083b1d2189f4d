"""Connections that the loss feels, measured on data: SNIP, its iterative form, and GraSP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from graphsparse.pruning.losses import (
    Loss,
    batch_loss,
    cross_entropy,
    endless,
    gradients,
    mean_gradients,
    mean_over,
    repeatable,
)
from graphsparse.pruning.rounds import Progress, ranks_by_round, rounded
from graphsparse.pruning.scratch import Masks, Model, apply_masks, check_numbers, scratch, to_numpy, without_pruned

Tensors = Mapping[str, torch.Tensor]


def snip(
    model: Model,
    parameters: Sequence[str],
    data: Iterable[Any] | None,
    *,
    loss: Loss = cross_entropy,
    masks: Masks | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = torch.float64,
) -> dict[str, np.ndarray]:
    """|weight x gradient of the loss|, the gradient averaged over the batches. Greater is kept longer.

    A copy of the model runs, in the model's training mode, with random draws from `seed`. In double precision the number of
    threads does not show in the ranking; ``dtype=None`` takes the model's own precision, several times faster on a CPU.
    (Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning Based on Connection Sensitivity", ICLR 2019.)

    Args:
        model: a module or a network.
        parameters: names of the prunable kernels.
        data: batches (x, y), see `graphsparse.pruning.losses.batch_loss`.
        loss: of outputs and targets, a scalar.
        masks: present masks; the model runs under them and what they have pruned scores minus infinity.

    Returns:
        Float64 scores in the kernels' shapes.

    Example:
        >>> batch = torch.randn(8, 4), torch.randint(0, 3, (8,))
        >>> snip(nn.Linear(4, 3), ["weight"], [batch])["weight"].shape
        (3, 4)
    """
    with scratch(model, parameters, masks, seed, dtype) as (copy, weights):
        return _final(_sensitivity(copy, weights, repeatable(data), loss), masks)


def iterative_snip(
    model: Model,
    parameters: Sequence[str],
    data: Iterable[Any] | None,
    compression: float,
    *,
    rounds: int = 300,
    batches_per_round: int | None = 1,
    loss: Loss = cross_entropy,
    masks: Masks | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = torch.float64,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """The round at which SNIP, repeated on what is left, drops each connection, see `ranks_by_round`.

    Each round takes the next `batches_per_round` batches of `data`, from the start again at its end; None takes all of
    them every round. (de Jorge et al., "Progressive Skeletonization", ICLR 2021; 300 rounds: Vysogorets and Kempe.)

    Args:
        compression: what the last round leaves, as compression of all connections.
        rounds, progress: see `ranks_by_round`; the rest as in `snip`.
    """
    data = repeatable(data)
    batches = endless(data)
    with scratch(model, parameters, masks, seed, dtype) as (copy, weights):

        def score(present: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            apply_masks(weights, present)
            now = data if batches_per_round is None else islice(batches, batches_per_round)
            return _sensitivity(copy, weights, now, loss)

        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        return ranks_by_round(score, shapes, compression, rounds, masks, progress)


def grasp(
    model: Model,
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

    Without a weight w the squared norm of the gradient changes by -2 w (H g) to first order. The paper scores a weight
    by -w (H g) and removes the greatest; here the sign is turned. H and g are averages over the batches, and H g comes from
    differentiating twice. As in the paper's experiments outputs are divided by a temperature of 200.
    (Wang, Zhang, Grosse, "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020, equation 8.)

    Arguments, precision and what is left untouched are as in `snip`. Goes through the data twice: an iterator is read
    into memory, a loader that shuffles or augments draws anew.

    Returns:
        Float64 scores in the kernels' shapes, of either sign.
    """
    data = repeatable(data)
    with scratch(model, parameters, masks, seed, dtype) as (copy, weights):
        product = _hessian_times_gradient(copy, list(weights.values()), data, loss, temperature)
        found = {name: to_numpy(weight * part, name) for (name, weight), part in zip(weights.items(), product)}
        return _final(found, masks)


def _sensitivity(model: nn.Module, weights: Tensors, batches: Iterable[Any], loss: Loss) -> dict[str, np.ndarray]:
    found = mean_gradients(model, list(weights.values()), batches, loss)
    return {name: to_numpy((weight * grad).abs(), name) for (name, weight), grad in zip(weights.items(), found)}


def _hessian_times_gradient(
    model: nn.Module, weights: list[torch.Tensor], batches: Iterable[Any], loss: Loss, temperature: float
) -> list[torch.Tensor]:
    """The gradient is held fixed while its product with each batch's own gradient is differentiated."""
    fixed = mean_gradients(model, weights, batches, loss, temperature)

    def product(batch: Any) -> list[torch.Tensor]:
        found = gradients(batch_loss(model, batch, loss, temperature), weights, keep=True)
        return gradients(sum(((f * g).sum() for f, g in zip(fixed, found)), fixed[0].new_zeros(())), weights)

    return mean_over(batches, weights, product)


def _final(scores: Mapping[str, np.ndarray], masks: Masks | None) -> dict[str, np.ndarray]:
    return without_pruned({name: rounded(values) for name, values in check_numbers(scores).items()}, masks)

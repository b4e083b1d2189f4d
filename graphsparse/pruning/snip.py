"""SNIP and its iterative form: connections that the loss feels, measured on data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from graphsparse.pruning.losses import Loss, cross_entropy, endless, mean_gradients, repeatable, taken
from graphsparse.pruning.rounds import Progress, ranks_by_round, rounded
from graphsparse.pruning.scratch import Masks, apply_masks, check_numbers, kernels, scratch, to_numpy, without_pruned


def snip(
    model: nn.Module,
    parameters: Sequence[str],
    data: Iterable[Any] | None,
    *,
    loss: Loss = cross_entropy,
    masks: Masks | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = torch.float64,
) -> dict[str, np.ndarray]:
    """|weight x gradient of the loss|, the gradient averaged over the batches. Greater is kept longer.

    The model is not touched: a copy of it runs, in the training mode that the model is in, with random draws from
    `seed`. In double precision the number of threads does not show in the ranking; ``dtype=None`` takes the model's own
    precision, several times faster on a CPU.
    (Lee, Ajanthan, Torr, "SNIP: Single-shot Network Pruning Based on Connection Sensitivity", ICLR 2019.)

    Args:
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
    with scratch(model, seed, dtype) as copy:
        weights = kernels(copy, parameters)
        apply_masks(weights, masks)
        found = _sensitivity(copy, weights, repeatable(data), loss)
    return without_pruned({name: rounded(values) for name, values in check_numbers(found).items()}, masks)


def iterative_snip(
    model: nn.Module,
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
    with scratch(model, seed, dtype) as copy:
        weights = kernels(copy, parameters)
        batches = endless(data)

        def score(present: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            apply_masks(weights, present)
            return _sensitivity(
                copy, weights, data if batches_per_round is None else taken(batches, batches_per_round), loss
            )

        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        return ranks_by_round(score, shapes, compression, rounds, masks, progress)


def _sensitivity(
    model: nn.Module, weights: Mapping[str, torch.Tensor], batches: Iterable[Any], loss: Loss
) -> dict[str, np.ndarray]:
    found = mean_gradients(model, list(weights.values()), batches, loss)
    return {name: to_numpy((weight * grad).abs(), name) for (name, weight), grad in zip(weights.items(), found)}

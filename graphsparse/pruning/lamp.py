"""LAMP: layer-adaptive magnitude pruning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import nn

from graphsparse.kernels.threads import each
from graphsparse.pruning.ranks import descending_order
from graphsparse.pruning.scratch import Masks, Stored, Weights, mask_of, shapes_of, without_pruned


def lamp(
    model: nn.Module, parameters: Sequence[str], masks: Masks | None = None, stored: Stored | None = None
) -> dict[str, np.ndarray]:
    """Each squared weight over the sum of the squares in its layer that are no smaller. Greater is kept longer.

    Float64 scores in [0, 1] by parameter name; the largest weight of a layer has 1, a zero weight 0. Among equal weights
    the earlier place scores higher. Weights are read layer by layer, from the model or ``stored``. What `masks` has pruned
    counts as zero and scores minus infinity.
    (Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, equation 3.)

    Example:
        >>> float(lamp(nn.Linear(4, 2), ["weight"])["weight"].max())
        1.0
    """
    values = Weights(model, parameters, stored)

    def score(name: str) -> np.ndarray:
        kept = values[name]
        return lamp_scores(kept if masks is None else np.where(mask_of(masks, name, kept.shape), kept, 0))

    nbytes = 8 * sum(math.prod(shape) for shape in shapes_of(model, parameters).values())
    return without_pruned(dict(zip(parameters, each(score, parameters, nbytes))), masks)


def lamp_scores(values: np.ndarray) -> np.ndarray:
    """LAMP scores of one layer from its weights."""
    magnitudes = np.abs(values).ravel()
    order = descending_order(magnitudes)
    squares = magnitudes[order].astype(np.float64)
    squares *= squares
    sums = np.cumsum(squares)
    np.divide(squares, sums, out=squares, where=sums > 0)
    scores = np.empty_like(squares)
    scores[order] = squares
    return scores.reshape(np.shape(values))

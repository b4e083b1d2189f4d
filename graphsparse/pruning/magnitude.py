"""Scores from the sizes of weights: magnitude, and LAMP, which compares each with its own layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphsparse.kernels.threads import each
from graphsparse.pruning.ranks import descending_order
from graphsparse.pruning.scratch import Masks, Model, Weights, mask_of, without_pruned


def magnitude(model: Model, parameters: Sequence[str]) -> dict[str, np.ndarray]:
    """Absolute weights by parameter name, float32 (float64 for a model in double precision). Greater is kept longer.

    Compared over all layers this is global magnitude pruning; for a quota give its `layer_ranks` to `quota_scores`.

    Example:
        >>> from torch import nn
        >>> magnitude(nn.Linear(4, 2), ["weight"])["weight"].shape
        (2, 4)
    """
    return {name: np.abs(values) for name, values in Weights(model, parameters).items()}


def lamp(model: Model, parameters: Sequence[str], masks: Masks | None = None) -> dict[str, np.ndarray]:
    """Each squared weight over the sum of the squares in its layer that are no smaller. Greater is kept longer.

    Float64 scores in [0, 1] by parameter name; the largest weight of a layer has 1, a zero weight 0. Among equal weights
    the earlier place scores higher. What `masks` has pruned counts as zero and scores minus infinity.
    (Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, equation 3.)

    Example:
        >>> from torch import nn
        >>> float(lamp(nn.Linear(4, 2), ["weight"])["weight"].max())
        1.0
    """
    weights = Weights(model, parameters)

    def score(name: str) -> np.ndarray:
        values = weights[name]
        return lamp_scores(values if masks is None else np.where(mask_of(masks, name, values.shape), values, 0))

    nbytes = 8 * sum(map(math.prod, weights.shapes.values()))
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

"""Magnitude: small weights go first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from graphsparse.pruning.scratch import Stored, Weights


def magnitude(model: nn.Module, parameters: Sequence[str], stored: Stored | None = None) -> dict[str, np.ndarray]:
    """Absolute weights by parameter name, float32 (float64 for a model in double precision). Greater is kept longer.

    Weights are read one at a time, from the model or, where that has none, from ``stored``. Compared over all layers this
    is global magnitude pruning; for a quota give its `layer_ranks` to `quota_scores`.

    Example:
        >>> scores = magnitude(nn.Linear(4, 2), ["weight"])
        >>> scores["weight"].shape
        (2, 4)
    """
    return {name: np.abs(values) for name, values in Weights(model, parameters, stored).items()}

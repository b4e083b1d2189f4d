"""Random scores: the pruner that every other one has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphsparse.pruning.ranks import random_words


def random_scores(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """Uniform random scores in [0, 1), float64: the same for the same seed on every machine, with any threads.

    Args:
        shapes: kernel shapes by parameter name; a kernel's scores depend on the seed and its position alone.
        seed: any non-negative integer.

    Example:
        >>> random_scores({"fc.weight": (1, 2)}, seed=0)["fc.weight"].shape
        (1, 2)
    """
    scores = {}
    for layer, (name, shape) in enumerate(shapes.items()):
        words = random_words(shape, seed, layer)
        scores[name] = ((words >> np.uint64(11)) * 2.0**-53).reshape(tuple(shape))
    return scores

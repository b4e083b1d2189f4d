"""The sanity check of the field: keep each layer's counts, forget which connections they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch

from graphsparse.pruning.ranks import random_ranks

Array = TypeVar("Array", np.ndarray, torch.Tensor)


def reshuffle(masks: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """Move the entries of every mask to random places of the same mask: the same counts, random connections.

    New arrays, of the kind and type of the given ones; the given ones stay as they are. The same seed gives the same
    masks on every machine. Works for scores as well: reshuffled scores are random pruning under their layer sparsities.
    (Frankle et al., "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?", ICLR 2021; the sanity
    check of Vysogorets and Kempe, JMLR 24(99), 2023.)

    Args:
        masks: tensors or NumPy arrays by parameter name; the order of the names matters to the places.
        seed: any non-negative integer.

    Example:
        >>> mask = reshuffle({"fc.weight": torch.tensor([[True, False, False], [True, False, False]])}, seed=0)
        >>> int(mask["fc.weight"].sum())
        2
    """
    places = random_ranks({name: tuple(mask.shape) for name, mask in masks.items()}, seed)
    return {name: _moved(mask, places[name]) for name, mask in masks.items()}


def _moved(mask: Array, places: np.ndarray) -> Array:
    if isinstance(mask, torch.Tensor):
        return mask.reshape(-1)[torch.from_numpy(places).to(mask.device)]
    return np.asarray(mask).reshape(-1)[places]

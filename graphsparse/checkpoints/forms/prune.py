"""torch.nn.utils.prune: X_orig beside X_mask, only where both exist."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from graphsparse.checkpoints.checks import check_binary, check_same_shape
from graphsparse.checkpoints.forms import zeros

NAME = "prune"


def _pruned(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    names = (name[: -len("_orig")] for name in tensors if name.endswith("_orig"))
    return [name for name in names if f"{name}_mask" in tensors]


def recognise(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether any tensor comes as X_orig and X_mask."""
    return bool(_pruned(tensors))


def read(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The masks of pruned tensors, the zeros of the others; and the weights under their plain names, not yet masked."""
    pruned = _pruned(tensors)
    plain = {**{f"{name}_orig": name for name in pruned}, **{f"{name}_mask": None for name in pruned}}
    places = {key: plain.get(key, key) for key in tensors}  # in the file's order, which a chain goes by
    weights = {name: tensors[key] for key, name in places.items() if name is not None}
    masks, _ = zeros.read(weights)
    for name in pruned:
        mask, original = tensors[f"{name}_mask"], tensors[f"{name}_orig"]
        check_same_shape(mask.shape, original.shape, f"{name}_mask")
        masks[name] = check_binary(mask, f"{name}_mask") != 0
    return masks, weights


def write(weights: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """X_orig and X_mask for every mask, in the weight's own type as torch.nn.utils.prune has them."""
    result = {}
    for name, weight in weights.items():
        if name in masks:
            result[f"{name}_orig"], result[f"{name}_mask"] = weight, masks[name].to(weight.dtype)
        else:
            result[name] = weight
    return result

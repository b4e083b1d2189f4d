"""Zeros are the mask: a plain state dict."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from graphsparse.checkpoints.checks import nonzero

NAME = "zeros"


def recognise(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Any state dict can be read so."""
    return True


def read(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Masks of every floating tensor of two axes or more (NaN and infinity are kept), and the weights as they are."""
    masks = {name: nonzero(t) for name, t in tensors.items() if t.is_floating_point() and t.dim() > 1}
    return masks, dict(tensors)


def write(weights: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights with zeros where a mask drops them; a NaN that is dropped becomes zero too."""
    return {
        name: torch.where(masks[name], weight, torch.zeros((), dtype=weight.dtype)) if name in masks else weight
        for name, weight in weights.items()
    }

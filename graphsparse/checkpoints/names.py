"""Wrappers unpacked and prefixes stripped: the names that the model itself uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from graphsparse.errors import CheckpointError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.")


def state_dict(content: Any, place: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint's content by name, out of any wrapper, without prefixes that all of them share.

    Raises:
        CheckpointError: the content holds no tensors by name.
    """
    tensors = _unwrapped(content)
    if not tensors:
        raise CheckpointError(
            "a checkpoint holds tensors by name",
            place=place,
            received=type(content).__name__ if not isinstance(content, Mapping) else f"keys {list(content)[:5]}",
            way_out="save model.state_dict()",
        )
    return _without_prefixes(tensors)


def _unwrapped(content: Any) -> dict[str, torch.Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS:
        inner = content.get(wrapper)
        if isinstance(inner, Mapping) and (found := _unwrapped(inner)):
            return found
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}


def _without_prefixes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in PREFIXES * 2:  # either may wrap the other
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return tensors

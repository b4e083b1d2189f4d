"""Parameters that are spread over processes (DTensor, FSDP2): the part that is here, and masks spread alike."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed import is_available

_AVAILABLE = is_available()
if _AVAILABLE:
    from torch.distributed.tensor import DTensor, distribute_tensor


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether the tensor is spread over a mesh of processes."""
    return _AVAILABLE and isinstance(tensor, DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that this process holds, sharing its memory; a plain tensor as it is."""
    spread: Any = tensor
    return spread._local_tensor if is_spread(tensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor; of a spread one every process asks at the same time."""
    spread: Any = tensor
    return spread.full_tensor() if is_spread(tensor) else tensor


def spread_as(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor, the same in every process, spread as another one; no process sends anything."""
    if not is_spread(like):
        return tensor
    mesh: Any = like
    return distribute_tensor(tensor, mesh.device_mesh, mesh.placements, src_data_rank=None)

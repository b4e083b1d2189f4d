"""A tensor that is about to be written: its size is known, its values are made when their turn comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch


@dataclass(frozen=True, eq=False)
class Pending:
    """Shape and dtype now, values when asked."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], torch.Tensor]

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    def tensor(self) -> torch.Tensor:
        return self.make().detach().reshape(self.shape)

    def octets(self) -> memoryview:
        """The values as bytes, row after row."""
        flat = self.tensor().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return memoryview(cast(Any, flat.view(torch.uint8).numpy())) if flat.numel() else memoryview(b"")


def ready(tensor: torch.Tensor) -> Pending:
    """The pending tensor whose values are there already."""
    return Pending(tuple(tensor.shape), tensor.dtype, lambda: tensor)

"""What every reader asks of a tensor before it believes it: binary, of the right shape, of a size that fits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from graphsparse.checkpoints.boundary import check
from graphsparse.errors import CheckpointError, MaskError

# How many elements a file may stand for: a sparse tensor at 99.9 % has some fifty per byte of its file, at 99.99 % five
# hundred. A file that asks for more, or for more than this machine can hold, is a bomb and not a mask.
ELEMENTS_PER_BYTE = 1024
ALWAYS_ALLOWED = 1 << 24

_PART = 1 << 20  # entries
# The types whose elements can be told from zero, one by one.
DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex32, torch.complex64, torch.complex128,
)  # fmt: skip
_NO_COMPARISON = {torch.uint16, torch.uint32, torch.uint64}


def naturals(values: Any) -> bool:
    """Whether a value from a file is a list of whole numbers from 0 to 2^63."""
    return type(values) in (tuple, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def in_parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields a tensor's entries in order, flat, some megabytes at a time: what is computed of them takes no memory."""
    if tensor.numel() <= _PART or tensor.dim() == 0:
        yield tensor.reshape(-1)
    elif tensor.is_contiguous():
        yield from tensor.view(-1).split(_PART)
    else:
        rows = max(1, _PART * len(tensor) // tensor.numel())
        for part in tensor.split(rows):
            yield from in_parts(part[0] if rows == 1 and len(tensor) > 1 else part.reshape(-1))


def nonzero(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the bool tensor of what is not zero: NaN and infinity are not, minus zero is."""
    return comparable(tensor) != 0


def count_not_finite(tensor: torch.Tensor) -> int:
    """Returns how many entries are NaN or infinite; a tensor without any is read once, at the speed of memory."""
    if tensor.layout != torch.strided:
        tensor = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()
    if not tensor.is_floating_point():
        return 0
    return sum(_not_finite(comparable(part)) for part in in_parts(tensor))


def _not_finite(entries: torch.Tensor) -> int:
    total = entries.sum(dtype=torch.float64 if entries.dtype == torch.float64 else torch.float32)
    return 0 if bool(total.isfinite()) else int((~entries.isfinite()).sum())


def comparable(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor in a type that torch compares; a bool as its byte, which a damaged file may have beyond 1."""
    if tensor.dtype == torch.bool:
        return tensor.contiguous().view(torch.uint8)
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1:
        return tensor.float()
    return tensor.to(torch.int64) if tensor.dtype in _NO_COMPARISON else tensor


def check_binary(mask: torch.Tensor, place: str) -> torch.Tensor:
    """Returns the mask as it is, or raises where it holds anything but 0 and 1."""
    wrong, first = 0, None
    for part in in_parts(mask):
        values = comparable(part)
        others = values[(values != 0) & (values != 1)]
        first = others[0].item() if first is None and others.numel() else first
        wrong += others.numel()
    if wrong:
        raise MaskError(
            "a mask must hold 0 and 1 alone", place=place, received=f"{wrong} other values, the first {first}",
            way_out="make it binary, e.g. (tensor != 0); or, if it is a weight and not a mask, name form='zeros'",
        )  # fmt: skip
    return mask


def check_same_shape(mask: Sequence[int], weight: Sequence[int], place: str, *, own: bool = True) -> None:
    """Raises where a mask and its weight differ in shape. ``own``: the mask is to blame; else the model is."""
    if tuple(mask) != tuple(weight):
        raise MaskError(
            "a mask must have a weight of its shape" if own else "a tensor must have the shape that it has in the model",
            place=place, received=f"{tuple(mask)} for {tuple(weight)}",
            way_out="use the mask that was made for this weight" if own else "name the model that the checkpoint was saved from",
        )  # fmt: skip


@dataclass
class Unfolding:
    """How many elements a file's tensors have so far, dense. Bits and sparse tensors are made dense one by one.

    Attributes:
        file_bytes: the file's size; None for content that came from no file.
        elements: of all tensors so far.
    """

    file_bytes: int | None = None
    elements: int = 0

    def add(self, shape: Sequence[int], place: str) -> None:
        """Counts a tensor that is about to be made dense.

        Raises:
            CheckpointError: all tensors so far have far more elements than the file can mean, or than memory holds.
        """
        self.elements += math.prod(shape)
        most, source = _memory(), ""
        if self.file_bytes is not None:
            most = min(most, max(ALWAYS_ALLOWED, ELEMENTS_PER_BYTE * self.file_bytes))
            source = f" from a file of {self.file_bytes:,} bytes"
        check(self.elements <= most, "a tensor must be of a size that its file and this machine's memory bear out", place,
              f"{tuple(shape)}, {self.elements:,} elements{source}",
              "check where the file comes from; an honest one can be re-saved dense as safetensors")  # fmt: skip


def check_sparse(tensor: torch.Tensor, place: str) -> None:
    """Raises unless every index lies in the shape; torch itself trusts a file's indices and would write beside it."""
    try:
        if tensor.layout == torch.sparse_coo:
            torch._validate_sparse_coo_tensor_args(tensor._indices(), tensor._values(), tensor.shape)
            return
        outer, inner = compressed_indices(tensor)
        torch._validate_sparse_compressed_tensor_args(outer, inner, tensor.values(), tensor.shape, tensor.layout)
    except Exception as error:  # torch raises several kinds
        raise CheckpointError(
            "a sparse tensor's indices must lie in its shape", place=place, received=str(error).splitlines()[0][:120],
            way_out="the file is damaged: save it again",
        ) from error  # fmt: skip


def compressed_indices(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(where each row or column begins, the index of each entry) of a compressed sparse tensor."""
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices()
    return tensor.ccol_indices(), tensor.row_indices()


@cache
def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # a system that does not tell
        return 1 << 62

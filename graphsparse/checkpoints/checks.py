"""What every reader asks of a tensor before it believes it: binary, of the right shape, of a size that fits."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import torch

from graphsparse.errors import CheckpointError, MaskError

# How far a file may unfold: a sparse tensor at 99.9 % holds some fifty elements a byte of file, at 99.99 % five
# hundred. Beyond that, and beyond a size that any machine holds, it is a bomb and not a mask.
ELEMENTS_PER_BYTE = 1024
ALWAYS_ALLOWED = 1 << 24

_NO_COMPARISON = {torch.uint16, torch.uint32, torch.uint64}


def nonzero(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the bool tensor of what is not zero: NaN and infinity are not, minus zero is."""
    return comparable(tensor) != 0


def count_not_finite(tensor: torch.Tensor) -> int:
    """Returns how many entries are NaN or infinite; a tensor without any is read once, at the speed of memory."""
    if tensor.layout != torch.strided:
        tensor = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()
    if not tensor.is_floating_point():
        return 0
    tensor = comparable(tensor)
    total = tensor.sum(dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)
    return 0 if bool(total.isfinite()) else int((~tensor.isfinite()).sum())


def comparable(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor in a type that torch compares; a bool as its byte, which a damaged file may have beyond 1."""
    if tensor.dtype == torch.bool:
        return tensor.contiguous().view(torch.uint8)
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1:
        return tensor.float()
    return tensor.to(torch.int64) if tensor.dtype in _NO_COMPARISON else tensor


def check_binary(mask: torch.Tensor, place: str) -> torch.Tensor:
    """Returns the mask as it is, or raises where it holds anything but 0 and 1."""
    values = comparable(mask)
    wrong = (values != 0) & (values != 1)
    if bool(wrong.any()):
        first = values[wrong].flatten()[0].item()
        raise MaskError(
            "a mask holds 0 and 1 alone",
            place=place,
            received=f"{int(wrong.sum())} other values, the first {first}",
            way_out="make it binary, e.g. (tensor != 0); or, if it is a weight and not a mask, name form='zeros'",
        )
    return mask


def check_same_shape(mask: Sequence[int], weight: Sequence[int], place: str) -> None:
    """Raises where a mask has not its weight's shape."""
    if tuple(mask) != tuple(weight):
        raise MaskError(
            "a mask has a weight of its shape",
            place=place,
            received=f"{tuple(mask)} for {tuple(weight)}",
            way_out="use the mask that was made for this weight",
        )


def check_expansion(shape: Sequence[int], file_bytes: int | None, place: str) -> None:
    """Raises where a shape asks for far more elements than its file can mean (None: it came from no file)."""
    elements = math.prod(shape)
    believable = math.inf if file_bytes is None else max(ALWAYS_ALLOWED, ELEMENTS_PER_BYTE * file_bytes)
    if elements <= min(believable, _memory()):
        return
    raise CheckpointError(
        "a tensor is of a size that its file and this machine's memory bear out",
        place=place,
        received=f"{tuple(shape)}, {elements:,} elements"
        + (f" from a file of {file_bytes:,} bytes" if file_bytes is not None else ""),
        way_out="check where the file comes from; an honest one can be re-saved dense as safetensors",
    )


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # a system that does not tell
        return 1 << 62

"""What every reader asks of a tensor before it believes it: binary, of the right shape, of a size that fits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from graphsparse.checkpoints.boundary import check, damaged
from graphsparse.errors import CheckpointError, MaskError
from graphsparse.kernels.masks import pack, word_count

# What reading one file may cost, in bytes of memory that are counted before they are taken.
_BYTES_ALLOWED = 48 << 20  # a small file may cost this much
_TIMES_THE_FILE = 3  # with the masks that are read from it, memory stays within four times the file
TIMES_A_PICKLE, TIMES_A_HEADER = 8, 40  # what names thousands of tensors of a few bytes needs more
_MOST_FOR_NAMES = 1 << 27
TENSOR = 700  # bytes that a tensor takes beside its elements

# How many elements a file may stand for: a sparse tensor at 99.9 % has some fifty per byte of its file, at 99.99 % five
# hundred. A file that asks for more, or for more than this machine can hold, is a bomb and not a mask.
ELEMENTS_PER_BYTE = 1024
ALWAYS_ALLOWED = 1 << 24
_ORIGIN = "check where the file comes from; an honest one can be saved dense as safetensors"

_PART = 1 << 20  # entries
# The types whose elements can be told from zero, one by one.
DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex32, torch.complex64, torch.complex128,
)  # fmt: skip
_NO_COMPARISON = {torch.uint16, torch.uint32, torch.uint64}

# Types whose minus zero is zero: the top bit alone makes no element non-zero. Other types have no minus zero: integers,
# and the "fnuz" floats, whose 0x80 is NaN and so is kept.
_SIGN_IS_NO_VALUE = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2,
}  # fmt: skip
_NEVER_ZERO = {torch.float8_e8m0fnu}


def naturals(values: Any) -> bool:
    """Whether a value from a file is a list of whole numbers from 0 to 2^63."""
    return type(values) in (tuple, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def in_parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields a tensor's entries in order, flat, some megabytes at a time: computing with them takes little memory."""
    if tensor.numel() <= _PART or tensor.dim() == 0:
        yield tensor.reshape(-1)
    elif tensor.is_contiguous():
        yield from tensor.view(-1).split(_PART)
    else:
        rows = max(1, _PART * len(tensor) // tensor.numel())
        for part in tensor.split(rows):
            yield from in_parts(part[0] if rows == 1 and len(tensor) > 1 else part.reshape(-1))


def nonzero(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the bool tensor of what is not zero. NaN and infinity are not zero, minus zero is."""
    return comparable(tensor) != 0


def pack_nonzero(tensor: torch.Tensor) -> np.ndarray:
    """Returns which elements of a tensor are not zero, one bit each: the words of a `Mask`.

    NaN and infinity are not zero, minus zero is. Each element is read once, from where it lies; contiguous tensors are
    not copied.

    Raises:
        CheckpointError: the tensor's dtype has no zero that can be told from its bits.

    Example:
        >>> pack_nonzero(torch.tensor([[0.0, 1.5, 0.0], [2.0, 0.0, float("nan")]]))
        array([42], dtype=uint64)
    """
    if tensor.numel() == 0:
        return np.zeros(word_count(0), np.uint64)
    check(tensor.dtype in DTYPES, "a tensor must have elements of whole bytes", None, tensor.dtype, None)
    tensor = tensor.detach()
    if tensor.is_complex():  # torch compares complex numbers of half precision by their parts only
        tensor = torch.view_as_real(tensor.resolve_conj()).ne(0).any(-1)
    elif tensor.dtype in _NEVER_ZERO:
        tensor = torch.ones_like(tensor, dtype=torch.bool)
    size, sign = tensor.element_size(), tensor.dtype in _SIGN_IS_NO_VALUE
    octets = tensor.resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy()
    return pack(octets.view(f"u{size}"), (1 << (8 * size - sign)) - 1)[0]


def count_not_finite(tensor: torch.Tensor) -> int:
    """Returns how many entries are NaN or infinite."""
    count = 0
    for part in in_parts(stored_values(tensor)) if tensor.is_floating_point() else ():
        entries = comparable(part)
        total = entries.sum(dtype=torch.float64 if entries.dtype == torch.float64 else torch.float32)
        if not bool(total.isfinite()):  # a finite sum has finite parts: most tensors are read once
            count += int((~entries.isfinite()).sum())
    return count


def stored_values(tensor: torch.Tensor) -> torch.Tensor:
    """The values that a tensor stores: all of a dense one."""
    if tensor.layout == torch.strided:
        return tensor
    return tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()


def comparable(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the tensor in a type that torch compares. A bool becomes its byte, which is above 1 in a damaged file."""
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
    received = f"{wrong} other values, the first {first}"
    way_out = "make it binary, e.g. (tensor != 0); or, if it is a weight and not a mask, name form='zeros'"
    check(not wrong, "a mask must hold 0 and 1 alone", place, received, way_out, MaskError)
    return mask


def check_same_shape(mask: Sequence[int], weight: Sequence[int], place: str, *, own: bool = True) -> None:
    """Raises where a mask and its weight differ in shape. ``own``: the mask is to blame; else the model is."""
    if own:
        rule, way_out = "a mask must have a weight of its shape", "use the mask that was made for this weight"
    else:
        rule = "a tensor must have the shape that it has in the model"
        way_out = "name the model that the checkpoint was saved from"
    check(tuple(mask) == tuple(weight), rule, place, f"{tuple(mask)} for {tuple(weight)}", way_out, MaskError)


@dataclass
class Budget:
    """The bytes that may still be spent on one file. It changes: everything that the file costs is counted in it.

    Attributes:
        left: bytes.
        place: the file, for messages.
    """

    left: int
    place: str

    @classmethod
    def of_file(cls, file_bytes: int, place: str, times: int) -> Budget:
        """The budget of a file of this size; ``times`` as much is for the names of many small tensors."""
        names = min(times * file_bytes, _MOST_FOR_NAMES)
        return cls(max(_BYTES_ALLOWED, _TIMES_THE_FILE * file_bytes, names), place)

    def spend(self, count: int) -> None:
        """Counts bytes that are about to be needed. Raises where they are more than the file may cost."""
        self.left -= count
        if self.left < 0:
            rule = "what a file holds must bear out its size"
            received = "tensors and objects that take far more memory than its bytes account for"
            raise CheckpointError(rule, place=self.place, received=received, way_out=_ORIGIN)


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
        most = _memory()
        if self.file_bytes is not None:
            most = min(most, max(ALWAYS_ALLOWED, ELEMENTS_PER_BYTE * self.file_bytes))
        if self.elements > most:
            rule = "a tensor must be of a size that its file and this machine's memory bear out"
            source = "" if self.file_bytes is None else f" from a file of {self.file_bytes:,} bytes"
            received = f"{tuple(shape)}, {self.elements:,} elements{source}"
            raise CheckpointError(rule, place=place, received=received, way_out=_ORIGIN)


def check_sparse(tensor: torch.Tensor, place: str) -> None:
    """Raises unless every index lies in the shape: torch trusts indices, and would write outside the tensor."""
    try:
        if tensor.layout == torch.sparse_coo:
            torch._validate_sparse_coo_tensor_args(tensor._indices(), tensor._values(), tensor.shape)
        else:
            outer, inner = compressed_indices(tensor)
            torch._validate_sparse_compressed_tensor_args(outer, inner, tensor.values(), tensor.shape, tensor.layout)
    except Exception as error:  # torch raises several kinds
        raise damaged("a sparse tensor's indices must lie in its shape", place, error) from error


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

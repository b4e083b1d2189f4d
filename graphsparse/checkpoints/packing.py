"""Which elements of a tensor are not zero, as bits, in the layout of `graphsparse.kernels.masks`."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.checkpoints.checks import DTYPES
from graphsparse.errors import CheckpointError
from graphsparse.kernels.masks import pack, word_count

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_VIEWED = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

# The bits of an element that can make it non-zero, where that is not all of them: minus zero is zero. The formats
# that are missing here have no minus zero: integers, and the "fnuz" floats, whose 0x80 is NaN and so is kept.
_SIGN_IS_NO_VALUE = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2,
}  # fmt: skip
_NEVER_ZERO = {torch.float8_e8m0fnu}


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
    elements, sign_counts = _as_integers(tensor)
    return pack(elements, (1 << (8 * elements.itemsize - (not sign_counts))) - 1)


def _as_integers(tensor: torch.Tensor) -> tuple[np.ndarray, bool]:
    """The tensor's memory as a flat array of unsigned integers, and whether an element's top bit makes it non-zero."""
    tensor = tensor.detach()
    if tensor.dtype not in DTYPES:
        raise CheckpointError("a tensor must have elements of whole bytes", received=tensor.dtype)
    if tensor.is_complex():
        tensor = _not_zero(tensor)
    elif tensor.dtype in _NEVER_ZERO:
        tensor = torch.ones_like(tensor, dtype=torch.bool)
    sign_counts = tensor.dtype not in _SIGN_IS_NO_VALUE
    flat = tensor.resolve_neg().contiguous().reshape(-1).view(_VIEWED[tensor.element_size()])
    return flat.numpy().view(_UNSIGNED[tensor.element_size()]), sign_counts


def _not_zero(tensor: torch.Tensor) -> torch.Tensor:
    """Which complex numbers are not zero; torch compares the parts of those of half precision only."""
    return torch.view_as_real(tensor.resolve_conj()).ne(0).any(-1)

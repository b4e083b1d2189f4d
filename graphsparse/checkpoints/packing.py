"""Non-zeros of a tensor as bits, at the speed of memory; `graphsparse.kernels.packed` is what they are for."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.errors import CheckpointError
from graphsparse.kernels import threads
from graphsparse.kernels.lanes import LANES, pack_lanes
from graphsparse.kernels.packed import WORD, pack_flags, word_count

CACHE_LINE_WORDS = 8
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_VIEWED = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

# The bits of an element that can make it non-zero, where that is not all of them: minus zero is zero. The formats
# that are missing here have no minus zero: integers, and the "fnuz" floats, whose 0x80 is NaN and so is kept.
_SIGN_IS_NO_VALUE = {
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
}
_NEVER_ZERO = {torch.float8_e8m0fnu}


def pack_nonzero(tensor: torch.Tensor) -> np.ndarray:
    """Returns which elements of a tensor are not zero, one bit each: the words of a `PackedMask`.

    NaN and infinity are not zero, minus zero is. Each element is read once, from where it lies; contiguous tensors are
    not copied.

    Raises:
        CheckpointError: the tensor's dtype has no zero that can be told from its bits.

    Example:
        >>> pack_nonzero(torch.tensor([[0.0, 1.5, 0.0], [2.0, 0.0, float("nan")]]))
        array([42], dtype=uint64)
    """
    words = np.zeros(word_count(tensor.numel()), np.uint64)
    if tensor.numel() == 0:
        return words
    elements, sign_counts = _as_integers(tensor)
    octets, lanes, whole = elements.view(np.uint8), LANES[elements.itemsize], elements.size // WORD
    threads.over(
        whole, elements.nbytes, lambda a, b: pack_lanes(octets, words, a, b, *lanes, sign_counts), CACHE_LINE_WORDS
    )
    rest = elements[whole * WORD :]
    if rest.size:
        words[-1] = pack_flags(rest & rest.dtype.type(_value_bits(rest.itemsize, sign_counts)))[0]
    return words


def _as_integers(tensor: torch.Tensor) -> tuple[np.ndarray, bool]:
    """The tensor's memory as a flat array of unsigned integers, and whether an element's top bit makes it non-zero."""
    tensor = tensor.detach()
    if tensor.is_complex() or tensor.dtype in _NEVER_ZERO or tensor.element_size() not in LANES:
        if tensor.dtype.itemsize in LANES or tensor.is_complex():
            tensor = tensor != 0 if tensor.is_complex() else torch.ones_like(tensor, dtype=torch.bool)
        else:
            raise CheckpointError("a packed tensor has elements of 1, 2, 4 or 8 bytes", received=tensor.dtype)
    sign_counts = tensor.dtype not in _SIGN_IS_NO_VALUE
    flat = tensor.resolve_neg().contiguous().reshape(-1).view(_VIEWED[tensor.element_size()])
    return flat.numpy().view(_UNSIGNED[tensor.element_size()]), sign_counts


def _value_bits(item_bytes: int, sign_counts: bool) -> int:
    return (1 << (8 * item_bytes - (not sign_counts))) - 1

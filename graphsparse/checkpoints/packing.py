"""Non-zeros of a tensor as bits, at the speed of memory; `graphsparse.kernels.packed` is what they are for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from graphsparse.errors import CheckpointError
from graphsparse.kernels import threads
from graphsparse.kernels.algebra import compiled, load_word
from graphsparse.kernels.packed import WORD, pack_flags, word_count


class _Lanes(NamedTuple):
    """How the elements that share one 64-bit load are tested and gathered; every field is a word but the last."""

    high: np.uint64  # the top bit of every lane
    shift: np.uint64  # brings the top bits down to the bottom of their lanes
    gather: np.uint64  # a product with it collects the bits in the top of the word, free of carries
    width: int  # elements in a load


def _lanes(item_bytes: int) -> _Lanes:
    bits, width = 8 * item_bytes, 8 // item_bytes
    high = sum(1 << (bits * lane + bits - 1) for lane in range(width))
    gather = sum(1 << (64 - width + lane - bits * lane) for lane in range(width))
    return _Lanes(np.uint64(high), np.uint64(bits - 1), np.uint64(gather), width)


CACHE_LINE_WORDS = 8
_LANES = {item_bytes: _lanes(item_bytes) for item_bytes in (1, 2, 4, 8)}
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
    octets, lanes, whole = elements.view(np.uint8), _LANES[elements.itemsize], elements.size // WORD
    threads.over(whole, elements.nbytes, lambda a, b: _pack(octets, words, a, b, *lanes, sign_counts), CACHE_LINE_WORDS)
    rest = elements[whole * WORD :]
    if rest.size:
        words[-1] = pack_flags(rest & rest.dtype.type(_value_bits(rest.itemsize, sign_counts)))[0]
    return words


def _as_integers(tensor: torch.Tensor) -> tuple[np.ndarray, bool]:
    """The tensor's memory as a flat array of unsigned integers, and whether an element's top bit makes it non-zero."""
    tensor = tensor.detach()
    if tensor.is_complex() or tensor.dtype in _NEVER_ZERO or tensor.element_size() not in _LANES:
        if tensor.dtype.itemsize in _LANES or tensor.is_complex():
            tensor = tensor != 0 if tensor.is_complex() else torch.ones_like(tensor, dtype=torch.bool)
        else:
            raise CheckpointError("a packed tensor has elements of 1, 2, 4 or 8 bytes", received=tensor.dtype)
    sign_counts = tensor.dtype not in _SIGN_IS_NO_VALUE
    flat = tensor.resolve_neg().contiguous().reshape(-1).view(_VIEWED[tensor.element_size()])
    return flat.numpy().view(_UNSIGNED[tensor.element_size()]), sign_counts


def _value_bits(item_bytes: int, sign_counts: bool) -> int:
    return (1 << (8 * item_bytes - (not sign_counts))) - 1


@compiled
def _pack(octets, packed, first, last, high, shift, gather, width, sign_counts):
    """Packs 64 elements a word, several elements a load: adding the largest value carries into a lane's top bit
    unless the lane is zero, and one product gathers those bits."""
    low = ~high
    down = np.uint64(64 - width)
    loads_per_word = 64 // width
    for word in range(first, last):
        bits = np.uint64(0)
        for k in range(loads_per_word):
            load: Any = load_word(octets, (word * loads_per_word + k) * 8)  # type: ignore[call-arg]  # numba's first
            alive = (load & low) + low
            if sign_counts:
                alive |= load
            bits |= ((((alive & high) >> shift) * gather) >> down) << np.uint64(k * width)
        packed[word] = bits

"""Masks as bits: an eighth of the bytes, and 64 connections in every word that a sweep reads."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphsparse.kernels.algebra import compiled
from graphsparse.kernels.threads import over

WORD = 64
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A parameter's mask as bits: entry i of the flat parameter is bit ``i % 64`` of word ``i // 64``.

    ``words`` is uint64, (ceil(entries / 64),); the bits beyond the last entry are 0.
    """

    shape: Shape
    words: np.ndarray

    @classmethod
    def whole(cls, shape: Shape) -> PackedMask:
        """The mask that keeps everything."""
        words = np.full(word_count(prod(shape)), ~np.uint64(0))
        if prod(shape) % WORD:
            words[-1] >>= np.uint64(-prod(shape) % WORD)
        return cls(tuple(shape), words)

    def unpack(self) -> np.ndarray:
        """The mask as a bool array of its shape."""
        return unpack_words(self.words, self.shape)

    def count(self) -> int:
        """How many entries are set."""
        counts = np.zeros(word_count(self.words.size), np.int64)  # a place for each thread's range, summed last
        over(self.words.size, self.words.nbytes, lambda first, last: _count(self.words, counts, first, last), WORD)
        return int(counts.sum())


Mask = np.ndarray | PackedMask


def dense(mask: Mask) -> np.ndarray:
    """A mask as an array whose entries lie in order, whichever way it is held."""
    if isinstance(mask, PackedMask):
        return mask.unpack().view(np.uint8)
    return mask if mask.flags.c_contiguous else np.ascontiguousarray(mask)


def count(mask: Mask) -> int:
    """How many entries of a mask are set, whichever way it is held."""
    return mask.count() if isinstance(mask, PackedMask) else int(np.count_nonzero(mask))


def word_count(entries: int) -> int:
    """The number of words that hold a bit for each entry."""
    return -(-entries // WORD)


def pack_flags(flags: np.ndarray) -> np.ndarray:
    """The words of an array, flat: which entries are not zero.

    Example:
        >>> pack_flags(np.array([[1, 0, 1], [0, 0, 1]]))
        array([37], dtype=uint64)
    """
    octets = np.zeros(8 * word_count(flags.size), np.uint8)
    octets[: -(-flags.size // 8)] = np.packbits(flags.reshape(-1) != 0, bitorder="little")
    return octets.view("<u8").astype(np.uint64, copy=False)


def unpack_words(words: np.ndarray, shape: Shape) -> np.ndarray:
    """The bool array of the given shape whose words these are.

    Example:
        >>> unpack_words(np.array([37], dtype=np.uint64), (2, 3))
        array([[ True, False,  True],
               [False, False,  True]])
    """
    octets = words.astype("<u8", copy=False).view(np.uint8)
    flags = np.empty(octets.size, np.uint64)  # of eight bytes each
    over(octets.size, flags.nbytes, lambda first, last: _spread(octets, flags, first, last), WORD)
    return flags.view(np.uint8)[: prod(shape)].view(bool).reshape(shape)


@intrinsic
def ones(typing_context, word):
    """The number of bits that are set in a uint64."""

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.ctpop", [kind], ir.FunctionType(kind, [kind]))
        return builder.call(function, arguments)

    return types.int64(types.uint64), generate


@compiled
def _spread(octets, flags, first, last):
    """The eight bits of a byte as eight bytes, halves moved apart three times."""
    for i in range(first, last):
        x = np.uint64(octets[i])
        x = (x | (x << np.uint64(28))) & np.uint64(0x0000000F0000000F)
        x = (x | (x << np.uint64(14))) & np.uint64(0x0003000300030003)
        flags[i] = (x | (x << np.uint64(7))) & np.uint64(0x0101010101010101)


@compiled
def _count(words, counts, first, last):
    total = 0
    for w in range(first, last):
        total += ones(words[w])
    if last > first:
        counts[first // WORD] = total

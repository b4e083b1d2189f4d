"""Masks as bits: packed once as they come in, swept as they lie, and unpacked when torch asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.threads import summed

WORD = 64
CACHE_LINE_WORDS = 8
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Mask:
    """A parameter's mask, one bit per entry: entry i of the flat parameter is bit ``i % 64`` of word ``i // 64``.

    ``words`` is uint64, (ceil(entries / 64),); the bits beyond the last entry are 0. ``np.asarray(mask)`` is the mask
    as a bool array.
    """

    shape: Shape
    words: np.ndarray

    @classmethod
    def of(cls, array: np.ndarray) -> Mask:
        """The mask of the entries that are not zero; an array of bools or of numbers of 1, 2, 4 or 8 bytes."""
        flat = np.ascontiguousarray(array).reshape(-1)
        value_bits = (1 << (8 * flat.itemsize - (flat.dtype.kind == "f"))) - 1  # minus zero is zero
        words, count = pack(flat.view(f"u{flat.itemsize}"), value_bits)
        mask = cls(tuple(array.shape), words)
        mask.__dict__["_counted"] = count  # what the property below would find
        return mask

    @classmethod
    def whole(cls, shape: Shape) -> Mask:
        """The mask that keeps everything; those of one size share their memory."""
        return cls(tuple(shape), _ones(prod(shape)))

    @property
    def size(self) -> int:
        """The number of entries."""
        return prod(self.shape)

    @cached_property
    def complete(self) -> bool:
        """Whether every entry is set."""
        return self.count() == self.size

    def unpack(self) -> np.ndarray:
        """The mask as a bool array of its shape."""
        return unpack(self.words, self.shape)

    def count(self) -> int:
        """How many entries are set."""
        return self._counted

    @cached_property
    def _counted(self) -> int:
        return summed(self.words.size, self.words.nbytes, lambda a, b: _count(self.words[a:b]), WORD)

    def without(self, other: Mask) -> Mask:
        """The entries of this mask that the other does not keep."""
        return Mask(self.shape, self.words & ~other.words)

    def both(self, other: Mask) -> Mask:
        """The entries that this mask and the other keep."""
        return Mask(self.shape, self.words & other.words)

    def either(self, other: Mask) -> Mask:
        """The entries that this mask or the other keeps."""
        return Mask(self.shape, self.words | other.words)

    def same(self, other: Mask) -> bool:
        """Whether the other mask keeps the same entries."""
        return np.array_equal(self.words, other.words)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.unpack() if dtype is None else self.unpack().astype(dtype)

    def __repr__(self) -> str:
        return f"Mask({self.shape}, {self.count()} of {self.size} kept)"


def word_count(entries: int) -> int:
    """The number of words that hold a bit for each entry."""
    return -(-entries // WORD)


@lru_cache(maxsize=256)
def _ones(entries: int) -> np.ndarray:
    words = np.full(word_count(entries), ~np.uint64(0))
    if entries % WORD:
        words[-1] >>= np.uint64(-entries % WORD)
    return words  # nobody writes to a mask; marked so, it would make every loop be compiled once more


def pack(elements: np.ndarray, value_bits: int) -> tuple[np.ndarray, int]:
    """One bit per element of a flat array of unsigned integers, whether it has any of the ``value_bits``; and how many
    are set, which are counted on the way.

    Example:
        >>> pack(np.array([1, 0, 3], np.uint8), 255)
        (array([5], dtype=uint64), 2)
    """
    words, whole = np.empty(word_count(elements.size), np.uint64), elements.size // WORD
    wanted = elements.dtype.type(value_bits)
    count = summed(whole, elements.nbytes, lambda a, b: _pack(elements, wanted, words, a, b), CACHE_LINE_WORDS)
    rest = elements[whole * WORD :]
    if rest.size:
        flags = np.packbits((rest & wanted) != 0, bitorder="little")
        words[-1] = int.from_bytes(flags.tobytes(), "little")
        count += int(words[-1]).bit_count()
    return words, count


def unpack(words: np.ndarray, shape: Shape) -> np.ndarray:
    """The bool array of the given shape whose words these are.

    Example:
        >>> unpack(np.array([37], dtype=np.uint64), (2, 3))
        array([[ True, False,  True],
               [False, False,  True]])
    """
    flags = np.empty(words.size * WORD, np.uint8)
    _unpack(words, flags, 0, words.size)  # new memory: two threads that touch its pages hinder each other
    return flags[: prod(shape)].view(bool).reshape(shape)


@intrinsic
def _nonzero_bits(typing_context, array, index, wanted):
    """One bit for each of 64 elements from ``index`` on: whether it has any of the wanted bits.

    One comparison of vectors gives all bits at once, at the speed of memory.
    """

    def generate(context, builder, signature, arguments):
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        lanes = ir.VectorType(ir.IntType(signature.args[0].dtype.bitwidth), WORD)
        place = builder.gep(source.data, [arguments[1]])
        load = builder.load(builder.bitcast(place, lanes.as_pointer()))
        load.align = 1
        first = builder.insert_element(ir.Constant(lanes, ir.Undefined), arguments[2], ir.IntType(32)(0))
        every = ir.Constant(ir.VectorType(ir.IntType(32), WORD), [0] * WORD)
        mask = builder.shuffle_vector(first, ir.Constant(lanes, ir.Undefined), every)
        flags = builder.icmp_unsigned("!=", builder.and_(load, mask), ir.Constant(lanes, [0] * WORD))
        return builder.bitcast(flags, ir.IntType(WORD))

    return types.uint64(array, types.intp, array.dtype), generate


@intrinsic
def _store_bits(typing_context, array, index, word):
    """Write the 64 bits of a word as 64 bytes of 0 and 1 from ``index`` on."""

    def generate(context, builder, signature, arguments):
        target = context.make_array(signature.args[0])(context, builder, arguments[0])
        octets = ir.VectorType(ir.IntType(8), WORD)
        flags = builder.bitcast(arguments[2], ir.VectorType(ir.IntType(1), WORD))
        place = builder.bitcast(builder.gep(target.data, [arguments[1]]), octets.as_pointer())
        builder.store(builder.zext(flags, octets), place).align = 1
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), generate


@intrinsic
def ones(typing_context, word):
    """The number of bits that are set in a uint64."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def trailing_zeros(typing_context, word):
    """The number of zero bits below the lowest set bit of a uint64 that is not zero."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.intp(types.uint64), generate


@compiled
def _pack(elements, wanted, words, first, last):
    count = 0
    for w in range(first, last):
        words[w] = _nonzero_bits(elements, w * 64, wanted)
        count += ones(words[w])
    return count


@compiled
def _unpack(words, flags, first, last):
    for w in range(first, last):
        _store_bits(flags, w * 64, words[w])


@compiled
def _count(words):
    total = 0
    for w in range(words.size):
        total += ones(words[w])
    return total

"""Add and mul of an algebra by element type, for compiled loops: (|, &) of integers, (max, min) of floats.

The element type chooses the algebra when a loop is compiled, so each loop of this package is written once and a byte,
a word of 64 positions and a float each get their own machine code. The functions below that only raise are the names
that compiled loops call; the overload beside each says what it compiles to.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

compiled = numba.njit(nogil=True, cache=True, fastmath={"nnan", "nsz"}, error_model="numpy")
"""How every loop of this package is compiled; NaN never gets here (refused with the parameter's name before)."""


def _of_two_floats(name):
    """An instruction of the machine: unlike a comparison and a choice it vectorises in a sum over many elements."""

    @intrinsic
    def chosen(typing_context, a, b):
        def generate(context, builder, signature, arguments):
            kind = arguments[0].type
            function = builder.module.declare_intrinsic(name, [kind], ir.FunctionType(kind, [kind, kind]))
            return builder.call(function, arguments, fastmath=("nnan", "nsz"))

        return a(a, a), generate

    return chosen


greater, lesser = _of_two_floats("llvm.maxnum"), _of_two_floats("llvm.minnum")
SCANNED = 64  # floats looked at together in a search


def add(a, b):
    """Join two parallel paths: ``a | b`` of integers, ``max(a, b)`` of floats."""
    raise TypeError("only for compiled loops")


@overload(add)
def _add(a, b):
    if isinstance(a, types.Float):
        return lambda a, b: greater(a, b)
    return lambda a, b: a | b


def mul(a, b):
    """Follow one path: ``a & b`` of integers, ``min(a, b)`` of floats."""
    raise TypeError("only for compiled loops")


@overload(mul)
def _mul(a, b):
    if isinstance(a, types.Float):
        return lambda a, b: lesser(a, b)
    return lambda a, b: a & b


def is_zero(a):
    """Whether nothing is added by ``a``: no bit set, or minus infinity."""
    raise TypeError("only for compiled loops")


@overload(is_zero)
def _is_zero(a):
    if isinstance(a, types.Float):
        return lambda a: a == -float("inf")
    return lambda a: a == 0


def is_one(a):
    """Whether nothing can be added to the single flag ``a``: set, or plus infinity."""
    raise TypeError("only for compiled loops")


@overload(is_one)
def _is_one(a):
    if isinstance(a, types.Float):
        return lambda a: a == float("inf")
    return lambda a: a != 0


def zero_like(a):
    """The algebra's zero in the type of ``a``."""
    raise TypeError("only for compiled loops")


@overload(zero_like)
def _zero_like(a):
    if isinstance(a, types.Float):
        return lambda a: -float("inf")
    return lambda a: 0


def spread(value, like):
    """A connection's value as wide as an element of a map: all 64 positions of a word, or the float itself."""
    raise TypeError("only for compiled loops")


@overload(spread)
def _spread(value, like):
    if isinstance(value, types.Float):
        return lambda value, like: value
    return lambda value, like: types.uint64(0) - types.uint64(value)


def narrow(element, like):
    """An element of a map as a connection's value: whether any position is set, or the float itself."""
    raise TypeError("only for compiled loops")


@overload(narrow)
def _narrow(element, like):
    if isinstance(element, types.Float):
        return lambda element, like: element
    return lambda element, like: types.uint8(element != 0)


@intrinsic
def load_word(typing_context, array, index):
    """The eight bytes of a byte array that start at ``index``, aligned or not, as one uint64."""
    signature = types.uint64(array, types.intp)

    def generate(context, builder, signature, arguments):
        source = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = builder.gep(source.data, [arguments[1]])
        word = builder.load(builder.bitcast(start, ir.IntType(64).as_pointer()))
        word.align = 1  # a row of a mask may start at any byte
        return word

    return signature, generate


@intrinsic
def trailing_zeros(typing_context, word):
    """The number of zero bits below the lowest set bit of a non-zero uint64."""
    signature = types.intp(types.uint64)

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return signature, generate


def next_above(row, start, low):
    """The first index from ``start`` on whose value is greater than ``low``, or the row's length."""
    raise TypeError("only for compiled loops")


@overload(next_above)
def _next_above(row, start, low):
    return _next_float if isinstance(row.dtype, types.Float) else _next_byte


def _next_float(row, start, low):
    """Few values exceed what is there already, so they go by blocks: any of a block vectorises, a search does not.

    Places count from the start, for only of a place that cannot be negative does the compiler know where it lies.
    """
    rest, j = row[start:], 0
    while j + SCANNED <= rest.size:
        above = 0
        for k in range(SCANNED):
            above |= rest[j + k] > low
        if above:
            break
        j += SCANNED
    while j < rest.size and not rest[j] > low:
        j += 1
    return start + j


def _next_byte(row, start, low):
    """Kept connections are rare, so zeros go by 32 bytes at a time: memory speed instead of a byte a cycle."""
    j, n = start, row.size
    if low != 0:
        return n
    while j + 32 <= n:
        a, b = load_word(row, j), load_word(row, j + 8)
        c, d = load_word(row, j + 16), load_word(row, j + 24)
        if a | b | c | d:
            if a:
                return j + (trailing_zeros(a) >> 3)
            if b:
                return j + 8 + (trailing_zeros(b) >> 3)
            if c:
                return j + 16 + (trailing_zeros(c) >> 3)
            return j + 24 + (trailing_zeros(d) >> 3)
        j += 32
    while j < n and row[j] == 0:
        j += 1
    return j


def next_above_each(row, start, lows):
    """`next_above` with a ``low`` for each element."""
    raise TypeError("only for compiled loops")


@overload(next_above_each)
def _next_above_each(row, start, lows):
    return _next_float_each if isinstance(row.dtype, types.Float) else _next_byte_each


def _next_float_each(row, start, lows):
    rest, floors, j = row[start:], lows[start:], 0
    while j + SCANNED <= rest.size:
        above = 0
        for k in range(SCANNED):
            above |= rest[j + k] > floors[j + k]
        if above:
            break
        j += SCANNED
    while j < rest.size and not rest[j] > floors[j]:
        j += 1
    return start + j


def _next_byte_each(row, start, lows):
    j, n = start, row.size
    while j + 16 <= n:
        a = load_word(row, j) & ~load_word(lows, j)
        b = load_word(row, j + 8) & ~load_word(lows, j + 8)
        if a | b:
            return j + (trailing_zeros(a) >> 3) if a else j + 8 + (trailing_zeros(b) >> 3)
        j += 16
    while j < n and row[j] <= lows[j]:
        j += 1
    return j


def floor_of(a, ceiling, lowest):
    """What the map ``a`` holds at least wherever it is below ``ceiling``, as a connection's value: nothing less adds to it.

    ``lowest`` is the least element of the ceiling, in the algebra's order.
    """
    raise TypeError("only for compiled loops")


@overload(floor_of)
def _floor_of(a, ceiling, lowest):
    return _floor_of_floats if isinstance(a.dtype, types.Float) else _floor_of_bits


def _floor_of_floats(a, ceiling, lowest):
    least = a[0]
    for p in range(1, a.size):
        least = lesser(least, a[p])
    if least < lowest:  # then it stands below its ceiling; the look at every one does not vectorise
        return least
    least = a.dtype.type(np.inf)
    for p in range(a.size):
        if a[p] < ceiling[p] and a[p] < least:
            least = a[p]
    return least


def _floor_of_bits(a, ceiling, lowest):
    for p in range(a.size):
        if ceiling[p] & ~a[p]:
            return types.uint8(0)
    return types.uint8(1)

"""The steps of an algebra in compiled loops: how two values add, multiply, and what can be skipped.

An algebra's element is a NamedTuple with the fields ``zero`` and ``one`` and two plain functions, ``plus`` (joins two
parallel paths) and ``times`` (follows one path). A class that also says ``top = True`` promises that ``one`` is the
greatest value and that ``plus`` chooses the greater and ``times`` the lesser: then much need not be looked at. One that
says ``saturates = True`` promises only that nothing adds to ``one``.
"""

from __future__ import annotations

from llvmlite import ir
from numba.extending import intrinsic, overload, register_jitable

SCANNED = 64  # values looked at together in a search


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


def step(choose):
    """A step that compiled loops call. ``choose`` gets the types of its arguments and gives the function to compile."""

    def called(*_):
        raise TypeError("only for compiled loops")

    overload(called)(choose)
    called.__doc__ = choose.__doc__
    return called


def _has_top(algebra) -> bool:
    return getattr(algebra.instance_class, "top", False)


@step
def add(algebra, a, b):
    """Join two parallel paths."""
    plus = register_jitable(algebra.instance_class.plus)
    return lambda algebra, a, b: plus(a, b)


@step
def mul(algebra, a, b):
    """Follow one path."""
    times = register_jitable(algebra.instance_class.times)
    return lambda algebra, a, b: times(a, b)


@step
def is_top(algebra, a):
    """Whether nothing can be added to ``a``."""
    if _has_top(algebra) or getattr(algebra.instance_class, "saturates", False):
        return lambda algebra, a: a == algebra.one
    return lambda algebra, a: False


@step
def next_above(algebra, row, start, low):
    """The first index from ``start`` on whose value adds to what is ``low`` already, or the row's length."""
    return _next_greater if _has_top(algebra) else _next_nonzero


@step
def next_above_each(algebra, row, start, low):
    """`next_above` with a ``low`` for each element."""
    return _next_greater_each if _has_top(algebra) else _next_nonzero


def _next_greater(algebra, row, start, low):
    """Few values exceed what is there already, so they go by blocks: any of a block vectorises, a search does not.

    Indices count from the start of a slice: only where an index cannot be negative does a loop vectorise.
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


def _next_greater_each(algebra, row, start, low):
    rest, floors, j = row[start:], low[start:], 0
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


def _next_nonzero(algebra, row, start, low):
    j = start
    while j < row.size and row[j] == algebra.zero:
        j += 1
    return j


@step
def floor_of(algebra, a, ceiling, lowest):
    """The least value of the map ``a`` where it is below ``ceiling``: nothing less adds to it. Without a top, zero.

    ``lowest`` is the least value of the ceiling.
    """
    return _least_below if _has_top(algebra) else (lambda algebra, a, ceiling, lowest: algebra.zero)


def _least_below(algebra, a, ceiling, lowest):
    least = _least(algebra, a)
    if least < lowest:  # then it stands below its ceiling; the look at every one does not vectorise
        return least
    least = algebra.one
    for p in range(a.size):
        if a[p] < ceiling[p] and a[p] < least:
            least = a[p]
    return least


@step
def least(algebra, a):
    """The least value of a map in an algebra with a top; else zero, which nobody reads."""
    return _least if _has_top(algebra) else (lambda algebra, a: algebra.zero)


@register_jitable
def _least(algebra, a):
    result = a[0]
    for p in range(1, a.size):
        result = lesser(result, a[p])
    return result

"""The algebras of a sweep: what a path carries, and how parallel paths add up.

A sweep asks the same of every network: what reaches each unit from the sources, what each unit reaches of the sinks,
and what each connection therefore carries. An algebra says what "what" is. ``plus`` joins two parallel paths, ``times``
follows one path, ``zero`` is no path and ``one`` a path that costs nothing. A new algebra is one class with these four
(`docs/CONTRIBUTING.md` adds one step by step).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from graphsparse.kernels.bits import Bits
from graphsparse.kernels.elements import greater, lesser
from graphsparse.kernels.layout import Kernel
from graphsparse.kernels.many_masks import ManyMasks
from graphsparse.kernels.masks import Mask
from graphsparse.kernels.numbers import Numbers

Ids = np.ndarray
Uses = Iterable[tuple[Kernel, Any]]


class Algebra(Protocol):
    """What a sweep asks of an algebra: `Bits` answers for (or, and), `Numbers` for every other one."""

    @property
    def name(self) -> str: ...
    @property
    def conditions(self) -> bool: ...
    @property
    def zero(self) -> Any: ...
    @property
    def one(self) -> Any: ...
    def vector(self, n_units: int) -> Any: ...
    def copy(self, vector: Any) -> Any: ...
    def put(self, vector: Any, units: np.ndarray, one: bool) -> None: ...
    def units(self, vector: Any) -> np.ndarray: ...
    def of_mask(self, mask: Mask) -> Any: ...
    def given(self, name: str, values: Any, shape: tuple[int, ...]) -> Any: ...
    def under(self, values: Any, mask: Mask) -> Any: ...
    def forwards(self, kernel: Kernel, values: Any, vector: Any) -> None: ...
    def backwards(self, kernel: Kernel, values: Any, vector: Any) -> None: ...
    def connections(self, uses: Uses, shape: tuple[int, ...], origin: Any, reach: Any) -> Any: ...
    def count(self, uses: Uses, shape: tuple[int, ...], origin: Any, reach: Any) -> int: ...
    def join(self, vector: Any, sources: np.ndarray, targets: np.ndarray) -> None: ...
    def gate(self, signal: Any, nonzero: Any, known: bool, lefts: Ids, rights: Ids, targets: Ids) -> None: ...
    def gate_back(self, reach: Any, nonzero: Any, lefts: Ids, rights: Ids, targets: Ids) -> None: ...


class Element(NamedTuple):
    """The zero and the one of an algebra; a subclass says how two values add and multiply."""

    zero: Any
    one: Any


class _MaxMin(Element):
    """The widest path: a path carries its least value, of parallel paths the greatest counts."""

    top = True
    plus = staticmethod(lambda a, b: greater(a, b))
    times = staticmethod(lambda a, b: lesser(a, b))


class _MinPlus(Element):
    """The cheapest path: costs add up along a path, of parallel paths the least counts."""

    plus = staticmethod(lambda a, b: min(a, b))
    times = staticmethod(lambda a, b: a + b)


class _MaxPlus(Element):
    """The longest path: lengths add up along a path, of parallel paths the greatest counts."""

    plus = staticmethod(lambda a, b: max(a, b))
    times = staticmethod(lambda a, b: a + b)


class _PlusTimes(Element):
    """How many paths, or their total weight: a number as the pair (mantissa, exponent), mantissa * 2 ** exponent.

    The pair stands in the two halves of a complex number, the one pair that arrays and compiled loops both know. A
    mantissa keeps the precision of float64 at any size: counts are exact up to 2 ** 53 and right to 1e-16 for each
    addition beyond; sums of logarithms would lose a digit for every digit of the exponent.
    """

    @staticmethod
    def plus(a: Any, b: Any) -> Any:
        if a.real == 0.0:
            return b
        if b.real == 0.0:
            return a
        if a.imag < b.imag:
            a, b = b, a
        apart = a.imag - b.imag
        if apart > 1000.0:
            return a
        mantissa, shift = math.frexp(a.real + math.ldexp(b.real, -int(apart)))
        return complex(mantissa, a.imag + shift)

    @staticmethod
    def times(a: Any, b: Any) -> Any:
        if a.real == 0.0 or b.real == 0.0:
            return complex(0.0, 0.0)
        mantissa, shift = math.frexp(a.real * b.real)
        return complex(mantissa, a.imag + b.imag + shift)


class _Words(Element):
    """Liveness in 64 masks at once: bit m of a value is that of mask m."""

    saturates = True
    plus = staticmethod(lambda a, b: a | b)
    times = staticmethod(lambda a, b: a & b)


INF = math.inf
OR_AND: Algebra = Bits()
MAX_MIN = Numbers("max_min", _MaxMin(np.float32(-INF), np.float32(INF)), np.dtype(np.float32))
MAX_MIN_64 = Numbers("max_min_64", _MaxMin(np.float64(-INF), np.float64(INF)), np.dtype(np.float64))
PLUS_TIMES = Numbers("plus_times", _PlusTimes(complex(0, 0), complex(0.5, 1)), np.dtype(np.complex128), True)
MIN_PLUS = Numbers("min_plus", _MinPlus(np.float64(INF), np.float64(0)), np.dtype(np.float64))
SHORTEST = Numbers("shortest", _MinPlus(np.float32(INF), np.float32(0)), np.dtype(np.float32), True)
MAX_PLUS = Numbers("max_plus", _MaxPlus(np.float32(-INF), np.float32(0)), np.dtype(np.float32), True)
WORDS = ManyMasks("or_and_64_masks", _Words(np.uint64(0), ~np.uint64(0)), np.dtype(np.uint64))


def as_pairs(numbers: np.ndarray) -> np.ndarray:
    """Numbers that are not negative as values of `PLUS_TIMES`."""
    mantissas, exponents = np.frexp(np.asarray(numbers, np.float64))
    return mantissas + 1j * np.where(mantissas == 0, 0, exponents)


def from_pairs(values: np.ndarray) -> np.ndarray:
    """Values of `PLUS_TIMES` as float64; infinity where they do not fit."""
    with np.errstate(over="ignore"):
        return np.ldexp(values.real, np.clip(values.imag, -5000, 5000).astype(np.int64))


def log10_of_pairs(values: np.ndarray) -> np.ndarray:
    """Decimal logarithms of values of `PLUS_TIMES`; minus infinity of zero."""
    with np.errstate(divide="ignore"):
        return np.log10(values.real) + values.imag * math.log10(2)

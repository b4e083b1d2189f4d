"""The algebras that a sweep runs over: values with an add (parallel paths) and a mul (along a path)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Semiring:
    """An algebra given as an argument: ``add`` joins parallel paths, ``mul`` follows one path.

    Kernels take it as their element type: the (or, and) of booleans and the (max, min) of floats are one loop
    (`graphsparse.kernels`), chosen by ``dtype``.
    """

    name: str
    zero: float | bool
    one: float | bool
    add: np.ufunc
    mul: np.ufunc
    dtype: np.dtype

    def zeros(self, n: int) -> np.ndarray:
        """An array of n zeros of the algebra, in its dtype."""
        return np.full(n, self.zero, self.dtype)


BOOLEAN = Semiring("boolean", False, True, np.logical_or, np.logical_and, np.dtype(bool))
MAX_MIN = Semiring("max_min", -np.inf, np.inf, np.maximum, np.minimum, np.dtype(np.float32))
MAX_MIN_64 = Semiring("max_min_64", -np.inf, np.inf, np.maximum, np.minimum, np.dtype(np.float64))

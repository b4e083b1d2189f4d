"""Values of few connections as lists by row: what is dropped costs nothing, and a map is added run by run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphsparse.kernels.compiling import Loop, inlined
from graphsparse.kernels.elements import add, mul
from graphsparse.kernels.layout import Kernel, Places, View
from graphsparse.kernels.masks import Mask


class Rows(NamedTuple):
    """The kept elements of a kernel by row: those of row r are ``columns[starts[r] : starts[r + 1]]``, and ``which`` is the
    number of each among the entries that the parameter keeps."""

    starts: np.ndarray
    columns: np.ndarray
    which: np.ndarray


@dataclass(frozen=True, eq=False)
class Entries:
    """The flat indices of what a mask keeps, ascending, and by kernel the rows of these; each found once."""

    mask: Mask

    @cached_property
    def flat(self) -> np.ndarray:
        """The indices in the flat parameter."""
        return np.flatnonzero(self.mask.unpack())

    @cached_property
    def _rows(self) -> dict[View | Places, Rows]:
        return {}

    def of(self, view: View | Places) -> Rows:
        """The rows of a kernel."""
        if view not in self._rows:
            self._rows[view] = self._of(view)
        return self._rows[view]

    def _of(self, view: View | Places) -> Rows:
        if isinstance(view, View) and view.covers(self.mask.size):
            shape, places, which = (prod(view.shape[:2]), prod(view.shape[2:])), self.flat, np.arange(len(self.flat))
        else:
            kernel = view.of(self.mask.unpack().reshape(-1))
            shape, places = (prod(kernel.shape[:2]), kernel.shape[2]), np.flatnonzero(kernel)
            which = np.searchsorted(self.flat, view.entries().reshape(-1)[places])
        columns = max(shape[1], 1)
        starts = np.searchsorted(places, columns * np.arange(shape[0] + 1))
        return Rows(starts, (places % columns).astype(np.int32), which)


@dataclass(frozen=True, eq=False)
class Listed:
    """What the connections that a mask keeps carry, ``values`` (entries,); all others carry the algebra's zero."""

    entries: Entries
    values: np.ndarray

    def dense(self, zero: Any) -> np.ndarray:
        """The values of all connections, flat."""
        found = np.full(self.entries.mask.size, zero, self.values.dtype)
        found[self.entries.flat] = self.values
        return found

    def forwards(self, element: Any, kernel: Kernel, x: np.ndarray, y: np.ndarray) -> None:
        """Add to ``y`` (rows of all groups, positions) what connections bring from ``x`` (groups, channels, size)."""
        rows, (runs, bounds, steps) = self.entries.of(kernel.view), kernel.taps.runs
        _forwards(element, rows.starts, rows.columns, self.values[rows.which], runs, bounds, steps, x, y)

    def backwards(self, element: Any, kernel: Kernel, y: np.ndarray, x: np.ndarray) -> None:
        """Add to ``x`` (groups, channels, size) what connections bring from ``y`` (rows of all groups, positions)."""
        rows, (runs, bounds, steps) = self.entries.of(kernel.view), kernel.taps.runs
        _backwards(element, rows.starts, rows.columns, self.values[rows.which], runs, bounds, steps, y, x)


@inlined
def _absorb(algebra, into, value, row):
    for i in range(into.size):
        into[i] = add(algebra, into[i], mul(algebra, value, row[i]))


@Loop
def _forwards(algebra, starts, columns, values, runs, bounds, steps, x, y):
    for r in range(y.shape[0]):
        g = r * x.shape[0] // y.shape[0]
        for e in range(starts[r], starts[r + 1]):
            c, k = columns[e] // steps.size, columns[e] % steps.size
            for i in range(bounds[k], bounds[k + 1]):
                p, q, n = runs[i, 0], runs[i, 1], runs[i, 2]
                if steps[k] == 1:
                    _absorb(algebra, y[r, p : p + n], values[e], x[g, c, q : q + n])
                else:
                    _absorb(algebra, y[r, p : p + n], values[e], x[g, c, q : q + n * steps[k] : steps[k]])


@Loop
def _backwards(algebra, starts, columns, values, runs, bounds, steps, y, x):
    for r in range(y.shape[0]):
        g = r * x.shape[0] // y.shape[0]
        for e in range(starts[r], starts[r + 1]):
            c, k = columns[e] // steps.size, columns[e] % steps.size
            for i in range(bounds[k], bounds[k + 1]):
                p, q, n = runs[i, 0], runs[i, 1], runs[i, 2]
                if steps[k] == 1:
                    _absorb(algebra, x[g, c, q : q + n], values[e], y[r, p : p + n])
                else:
                    _absorb(algebra, x[g, c, q : q + n * steps[k] : steps[k]], values[e], y[r, p : p + n])

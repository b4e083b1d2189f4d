"""Values of few connections as lists by row: what is dropped costs nothing, and a map is added run by run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphsparse.kernels.compiling import Loop, inlined
from graphsparse.kernels.elements import add, mul
from graphsparse.kernels.layout import Kernel, Places, View
from graphsparse.kernels.masks import Mask


class Rows(NamedTuple):
    """The kept elements of a kernel by row: those of row r are ``columns[starts[r] : starts[r + 1]]``. ``which`` numbers each
    among the entries that the parameter keeps."""

    starts: np.ndarray
    columns: np.ndarray
    which: np.ndarray


@dataclass(frozen=True, eq=False)
class Entries:
    """The entries that a mask keeps: their flat indices, and by kernel their rows. Each is found once."""

    mask: Mask
    _rows: dict[View | Places, Rows] = field(default_factory=dict, init=False)

    @cached_property
    def flat(self) -> np.ndarray:
        """The indices in the flat parameter."""
        return np.flatnonzero(self.mask.unpack())

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

    def carry(self, element: Any, kernel: Kernel, x: np.ndarray, y: np.ndarray, *, back: bool) -> None:
        """Add to ``y`` (rows of all groups, positions) what connections bring from ``x`` (groups, channels, size); with
        ``back``, add to ``x`` what they bring from ``y``."""
        rows, (runs, bounds, steps) = self.entries.of(kernel.view), kernel.taps.runs
        _carry(element, rows.starts, rows.columns, self.values[rows.which], runs, bounds, steps, x, y, back)


@Loop
def _carry(algebra, starts, columns, values, runs, bounds, steps, x, y, back):
    for r in range(y.shape[0]):
        g = r * x.shape[0] // y.shape[0]
        for e in range(starts[r], starts[r + 1]):
            c, k = columns[e] // steps.size, columns[e] % steps.size
            for i in range(bounds[k], bounds[k + 1]):
                p, q, n = runs[i, 0], runs[i, 1], runs[i, 2]
                if steps[k] == 1:
                    _pass(algebra, values[e], x[g, c, q : q + n], y[r, p : p + n], back)
                else:
                    _pass(algebra, values[e], x[g, c, q : q + n * steps[k] : steps[k]], y[r, p : p + n], back)


@inlined
def _pass(algebra, value, x, y, back):
    """Add to each element of ``y`` what one connection brings from that of ``x``; with ``back``, from ``y`` to ``x``."""
    if back:
        for i in range(y.size):
            x[i] = add(algebra, x[i], mul(algebra, value, y[i]))
    else:
        for i in range(y.size):
            y[i] = add(algebra, y[i], mul(algebra, value, x[i]))

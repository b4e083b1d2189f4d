"""The algebra of revival costs: (min, +) where a kept connection costs 0 and a dropped one 1.

What a dropped connection brings is the same for all rows of a group: 1 more than the least of all columns. So only the
kept connections, which come as lists, are work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphsparse.algebras import MIN_PLUS
from graphsparse.kernels import element_loops as loops
from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.layout import Kernel, Places
from graphsparse.kernels.listed import Listed
from graphsparse.kernels.numbers import Numbers, own_table


class Revival(Numbers):
    """`MIN_PLUS` over lists of what is kept, which costs 0; all other connections cost 1."""

    def brought(self, kernel: Kernel, values: Any, vector: np.ndarray) -> np.ndarray:
        """What connections bring to each row, or would bring if they came back."""
        if isinstance(kernel.view, Places):  # elements that are always zero do not come back
            return super().brought(kernel, _costs(values), vector)
        x = vector[kernel.sources]
        least = np.pad(x.min(1, initial=np.inf), ((0, 0), (0, 1)), constant_values=np.inf)  # the last is padding
        dropped = least[:, kernel.taps.table].min(1, initial=np.inf) + 1
        y = np.repeat(dropped, kernel.targets.shape[1], axis=0)
        values.carry(self.element, kernel, x, y, back=False)
        return y

    def backwards(self, kernel: Kernel, values: Any, vector: np.ndarray) -> None:
        """Add to the sources what connections lead to, or would lead to if they came back."""
        if isinstance(kernel.view, Places):
            super().backwards(kernel, _costs(values), vector)
            return
        y, (groups, channels, size) = self._outputs(kernel, vector), kernel.sources.shape
        least = y.reshape(groups, -1, y.shape[1]).min(1, initial=np.inf) + 1
        dropped, own = self._empty(groups * size), np.arange(groups * size).reshape(groups, size)
        loops.write(self.element, np.repeat(least, len(kernel.taps.table), axis=0), own, kernel.taps.table, dropped)
        x = np.repeat(dropped.reshape(groups, 1, size), channels, axis=1)
        values.carry(self.element, kernel, x, y, back=True)
        self._write(x, kernel.sources, own_table(size), vector)

    def _carried(self, kernel: Kernel, values: Any, origin: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """What each element of a kernel costs, the least over its positions."""
        if isinstance(kernel.view, Places):
            return super()._carried(kernel, _costs(values), origin, reach)
        rows = self._rows(kernel, values.entries.mask.unpack())
        x, y = origin[kernel.sources], self._outputs(kernel, reach)
        least, out = y.min(1, initial=np.inf), np.empty(rows.shape)
        least_in, same = np.full((len(x), rows.shape[1]), np.inf), least == y.max(1, initial=-np.inf)
        _find_least(x, kernel.taps.table, least_in)
        _carry(rows, x, y, kernel.taps.table, least_in, least, same, out)
        return out


def _costs(values: Listed) -> Any:
    return np.where(values.entries.mask.unpack().reshape(-1), 0.0, 1.0)


REVIVAL = Revival("revival", MIN_PLUS.element, MIN_PLUS.dtype)


@compiled
def _find_least(x: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """The least that each column (a channel and a tap) reads: no less than the least of its channel, where a search ends."""
    taps = table.shape[0]
    for g in range(x.shape[0]):
        for c in range(x.shape[1]):
            bound = x[g, c].min() if x.shape[2] else np.inf
            for k in range(taps):
                for p in range(table.shape[1]):
                    if table[k, p] >= 0:
                        out[g, c * taps + k] = min(out[g, c * taps + k], x[g, c, table[k, p]])
                        if out[g, c * taps + k] == bound:
                            break


@compiled
def _carry(
    rows: np.ndarray, x: np.ndarray, y: np.ndarray, table: np.ndarray, least_in: np.ndarray,
    least_out: np.ndarray, same: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """No position costs less than the least of both sides: the search ends at the first that costs no more. A row that costs
    the ``same`` at all positions needs no search."""
    taps = table.shape[0]
    for r in range(rows.shape[0]):
        g = r * x.shape[0] // rows.shape[0]
        for j in range(rows.shape[1]):
            bound = least_in[g, j] + least_out[r]
            best = bound if same[r] else np.inf
            for p in range(0 if same[r] else y.shape[1]):
                q = table[j % taps, p]
                if q >= 0:
                    best = min(best, x[g, j // taps, q] + y[r, p])
                    if best == bound:
                        break
            out[r, j] = best if rows[r, j] else best + 1

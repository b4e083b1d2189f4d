"""The algebra of revival costs: (min, +) where a kept connection costs 0 and a dropped one 1.

What a dropped connection brings is the same for all rows of a group: 1 more than the least of all columns. So only the
kept connections are work.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphsparse.algebras import MIN_PLUS
from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.layout import Kernel, Places
from graphsparse.kernels.numbers import Numbers


class Revival(Numbers):
    """`MIN_PLUS` over masks: the values of connections are bools, whether they are kept."""

    def brought(self, kernel: Kernel, values: Any, vector: np.ndarray) -> np.ndarray:
        """What connections bring to each row, or would bring if they came back."""
        if isinstance(kernel.view, Places):
            return super().brought(kernel, _costs(values), vector)
        rows, x = self._rows(kernel, values), self._inputs(kernel, vector)
        y = np.repeat(x.min(1, initial=np.inf) + 1, len(rows) // max(len(x), 1), axis=0)
        _pass_kept(rows, x, y, False)
        return y

    def brought_back(self, kernel: Kernel, values: Any, y: np.ndarray) -> np.ndarray:
        """What connections lead to from each column, or would lead to if they came back."""
        if isinstance(kernel.view, Places):
            return super().brought_back(kernel, _costs(values), y)
        rows, shape = self._rows(kernel, values), (len(kernel.targets), -1, y.shape[1])
        x = np.repeat(y.reshape(shape).min(1, keepdims=True, initial=np.inf) + 1, rows.shape[1], axis=1)
        _pass_kept(rows, x, y, True)
        return x

    def _carried(self, kernel: Kernel, values: np.ndarray, origin: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """What each element of a kernel costs, the least over its positions."""
        if isinstance(kernel.view, Places):
            return super()._carried(kernel, _costs(values), origin, reach)
        rows, x, y = self._rows(kernel, values), self._inputs(kernel, origin), self._outputs(kernel, reach)
        out = np.empty(rows.shape)
        least = y.min(1, initial=np.inf)
        _carry(rows, x, y, x.min(2, initial=np.inf), least, least == y.max(1, initial=-np.inf), out)
        return out


def _costs(kept: np.ndarray) -> Any:
    return np.where(kept, 0.0, 1.0)


REVIVAL = Revival("revival", MIN_PLUS.element, MIN_PLUS.dtype)


@compiled
def _pass_kept(rows: np.ndarray, x: np.ndarray, y: np.ndarray, back: bool) -> None:
    """Lower each row of ``y`` to the columns of ``x`` that it keeps; with ``back``, lower those columns to the row."""
    for r in range(rows.shape[0]):
        maps, mine = x[r * x.shape[0] // rows.shape[0]], y[r]
        for j in range(rows.shape[1]):
            if rows[r, j]:
                for p in range(mine.size):
                    least = min(maps[j, p], mine[p])
                    if back:
                        maps[j, p] = least
                    else:
                        mine[p] = least


@compiled
def _carry(
    rows: np.ndarray, x: np.ndarray, y: np.ndarray, least_in: np.ndarray,
    least_out: np.ndarray, same: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """No position costs less than the least of both sides: the search ends at the first that costs no more. A row that costs
    the ``same`` at all positions needs no search."""
    for r in range(rows.shape[0]):
        g = r * x.shape[0] // rows.shape[0]
        if same[r]:
            for j in range(rows.shape[1]):
                out[r, j] = least_in[g, j] + least_out[r] + (0.0 if rows[r, j] else 1.0)
            continue
        for j in range(rows.shape[1]):
            bound, best = least_in[g, j] + least_out[r], np.inf
            for p in range(y.shape[1]):
                best = min(best, x[g, j, p] + y[r, p])
                if best == bound:
                    break
            out[r, j] = best if rows[r, j] else best + 1

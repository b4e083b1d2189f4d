"""The algebra of many masks at once: 64 masks in the bits of a word, and many words in a call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from graphsparse.kernels import words as loops
from graphsparse.kernels.bit_sums import counts_by_mask
from graphsparse.kernels.layout import Kernel
from graphsparse.kernels.numbers import CACHE_LINE, Numbers, Uses, ids_of, own_table
from graphsparse.kernels.threads import over


@dataclass(frozen=True, eq=False)
class ManyMasks(Numbers):
    """Liveness of many masks, which also counts by mask.

    With ``stack`` (n,) a value is n words; bit m of word w is that of mask 64 w + m.
    """

    def of_many(self, words: int) -> ManyMasks:
        """The algebra of that many words of masks."""
        return replace(self, stack=(words,))

    def brought(self, kernel: Kernel, values: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """What connections bring from the sources to each row, (words, rows of all groups, positions)."""
        rows, found = self._rows(kernel, values), self._inputs(kernel, vector)
        y = np.empty((*rows.shape[:2], kernel.taps.positions), np.uint64)
        work = max(rows.nbytes, found[0].nbytes)
        over(rows.shape[1], work, lambda a, b: loops.forwards(rows, *found, y, a, b))
        return y

    def brought_back(self, kernel: Kernel, values: np.ndarray, y: tuple[np.ndarray, ...]) -> np.ndarray:
        """What connections bring to each column, (words, columns of all groups, positions), from what `_outputs` gives."""
        rows = self._rows(kernel, values)
        x = np.empty((len(rows), len(kernel.targets) * rows.shape[2], kernel.taps.positions), np.uint64)
        work = max(rows.nbytes, x.nbytes)
        over(rows.shape[2], work, lambda a, b: loops.backwards(rows, *y, x, a, b), CACHE_LINE)
        return x

    def counts(self, values: np.ndarray, uses: Uses, origin: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """How many entries of a parameter each mask keeps, and how many are active under it, int64 (2, words, 64).

        ``values``: the parameter's words, in its shape; ``uses`` its kernels, each with the words that hold there.
        """
        uses, flat = list(uses), self._each(values)
        if len(uses) != 1 or uses[0][1] is not values or not uses[0][0].view.covers(flat.shape[1]):
            active = self.connections(uses, values.shape[len(self.stack) :], origin, reach)
            return np.stack([counts_by_mask(each) for each in (flat, self._each(active))])
        rows, ends = self._rows(*uses[0]), self._ends(uses[0][0], origin, reach)
        parts = over(rows.shape[1], rows.nbytes, lambda a, b: loops.count(rows, *ends, a, b))
        return np.sum(parts, axis=0)

    def _carried(self, kernel: Kernel, values: np.ndarray, origin: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Under which masks each element of a kernel is active, (words, rows of all groups, columns)."""
        rows, ends = self._rows(kernel, values), self._ends(kernel, origin, reach)
        found = np.empty_like(rows)
        over(rows.shape[1], rows.nbytes, lambda a, b: loops.carried(rows, *ends, found, a, b))
        return found

    def _rows(self, kernel: Kernel, values: np.ndarray) -> np.ndarray:
        """The kernel's words (words, rows of all groups, columns), contiguous."""
        flat, (groups, rows, columns) = self._each(values), kernel.view.table
        if kernel.view.covers(flat.shape[1]):
            return flat.reshape(len(flat), groups * rows, columns)
        each = super()._rows
        return np.stack([each(kernel, words) for words in flat])

    def _inputs(self, kernel: Kernel, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        return loops.read(self._each(vector), ids_of(kernel.sources), kernel.taps.table, len(kernel.sources))

    def _outputs(self, kernel: Kernel, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        own = own_table(kernel.taps.positions)
        return loops.read(self._each(vector), ids_of(kernel.targets), own, len(kernel.targets))

    def _ends(self, kernel: Kernel, origin: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, ...]:
        return (*self._inputs(kernel, origin), self._outputs(kernel, reach)[0])

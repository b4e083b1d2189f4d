"""The algebra of many masks at once: 64 masks in the bits of a word, and many words in a call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from graphsparse.kernels import element_loops
from graphsparse.kernels import words as loops
from graphsparse.kernels.bit_sums import counts_by_mask
from graphsparse.kernels.layout import Kernel
from graphsparse.kernels.masks import Mask
from graphsparse.kernels.numbers import CACHE_LINE, Numbers, ids_of, own_table
from graphsparse.kernels.threads import over


@dataclass(frozen=True, eq=False)
class ManyMasks(Numbers):
    """Liveness of many masks, which also counts by mask.

    With ``stack`` (n,) all values have a first axis of n words; bit m of word w is that of mask 64 w + m.
    """

    stack: tuple[int, ...] = ()

    def of_many(self, words: int) -> ManyMasks:
        """The algebra of that many words of masks."""
        return replace(self, stack=(words,))

    def vector(self, n_units: int) -> np.ndarray:
        """The zero of every unit, then that of the constant and of no unit."""
        return np.zeros((*self.stack, n_units + 2), np.uint64)

    def of_mask(self, mask: Mask) -> np.ndarray:
        """A mask's connections as values: one where kept."""
        return np.stack([super().of_mask(mask)] * prod(self.stack)).reshape(*self.stack, *mask.shape)

    def forwards(self, kernel: Kernel, values: np.ndarray, vector: np.ndarray) -> None:
        """Add to the targets what connections bring from the sources."""
        rows, found, units = self._rows(kernel, values), self._inputs(kernel, vector), self._each(vector)
        y = np.empty((*rows.shape[:2], kernel.taps.positions), np.uint64)
        work = max(rows.nbytes, found[0].nbytes)
        over(rows.shape[1], work, lambda a, b: loops.forwards(rows, *found, y, a, b))
        self._write(y, kernel.targets, own_table(kernel.taps.positions), units)

    def backwards(self, kernel: Kernel, values: np.ndarray, vector: np.ndarray) -> None:
        """Add to the sources what their connections bring from the targets."""
        rows, found, units = self._rows(kernel, values), self._outputs(kernel, vector), self._each(vector)
        n, _, columns = rows.shape
        x = np.empty((n, kernel.targets.shape[0] * columns, kernel.taps.positions), np.uint64)
        over(columns, max(rows.nbytes, x.nbytes), lambda a, b: loops.backwards(rows, *found, x, a, b), CACHE_LINE)
        self._write(x, kernel.sources, kernel.taps.table, units)

    def connections(
        self, uses: Iterable[tuple[Kernel, np.ndarray]], shape: tuple[int, ...], origin: np.ndarray, reach: np.ndarray
    ) -> np.ndarray:
        """Under which masks each entry of a parameter is active in any of its uses."""
        size = prod(shape)
        flat = np.zeros((prod(self.stack), size + 1), np.uint64)  # the last is for elements that are always zero
        for kernel, values in uses:
            rows, ends = self._rows(kernel, values), self._ends(kernel, origin, reach)
            found = np.empty_like(rows)
            over(rows.shape[1], rows.nbytes, lambda a, b: loops.carried(rows, *ends, found, a, b))
            entries = np.where(kernel.view.entries() < 0, size, kernel.view.entries()).ravel()
            for into, carried in zip(flat, found, strict=True):
                element_loops.add_at(self.element, into, entries, carried.ravel())
        return flat[:, :size].reshape(*self.stack, *shape)

    def counts(
        self, values: np.ndarray, uses: Iterable[tuple[Kernel, np.ndarray]], origin: np.ndarray, reach: np.ndarray
    ) -> np.ndarray:
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

    def _write(self, maps: np.ndarray, ids: np.ndarray, table: np.ndarray, units: np.ndarray) -> None:
        """Add the maps of each word to its units."""
        for each, into in zip(maps, units, strict=True):
            element_loops.write(self.element, each, ids_of(ids), table, into)

    def _each(self, array: np.ndarray) -> np.ndarray:
        """The array as (words, rest), in its own memory."""
        return array.reshape(prod(self.stack), -1)

    def _rows(self, kernel: Kernel, values: np.ndarray) -> np.ndarray:
        """The kernel's words (words, rows of all groups, columns), contiguous."""
        flat, columns = self._each(values), kernel.sources.shape[1] * len(kernel.taps.table)
        if kernel.view.covers(flat.shape[1]):
            return flat.reshape(len(flat), prod(kernel.targets.shape[:2]), columns)
        each = super()._rows
        return np.stack([each(kernel, words) for words in flat])

    def _inputs(self, kernel: Kernel, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        return loops.read(self._each(vector), ids_of(kernel.sources), kernel.taps.table, len(kernel.sources))

    def _outputs(self, kernel: Kernel, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        own = own_table(kernel.taps.positions)
        return loops.read(self._each(vector), ids_of(kernel.targets), own, len(kernel.targets))

    def _ends(self, kernel: Kernel, origin: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, ...]:
        return (*self._inputs(kernel, origin), self._outputs(kernel, reach)[0])

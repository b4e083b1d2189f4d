"""Any algebra whose values are numbers: one per unit, one per connection, an array in the parameter's shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from graphsparse.errors import ArgumentError
from graphsparse.kernels import element_loops as loops
from graphsparse.kernels.layout import Kernel
from graphsparse.kernels.listed import Listed
from graphsparse.kernels.masks import CACHE_LINE_WORDS, Mask, Shape
from graphsparse.kernels.threads import over

CACHE_LINE = 8 * CACHE_LINE_WORDS
Uses = Iterable[tuple[Kernel, Any]]


@lru_cache(maxsize=256)
def own_table(positions: int) -> np.ndarray:
    """The table with which a map reads itself."""
    return np.arange(positions, dtype=np.int32)[None]


@dataclass(frozen=True, eq=False)
class Numbers:
    """An algebra of ``element`` (see `graphsparse.kernels.elements`), whose values are arrays of ``dtype``.

    ``conditions``: of a gate's other operand it matters only that it is not zero; else what it holds counts too.
    ``stack``: axes that all values have before their own; only `ManyMasks` has one.
    """

    name: str
    element: Any
    dtype: np.dtype
    conditions: bool = False
    stack: tuple[int, ...] = ()

    @property
    def zero(self) -> Any:
        """What adds nothing: no path."""
        return self.element.zero

    @property
    def one(self) -> Any:
        """What a path that costs nothing carries."""
        return self.element.one

    def vector(self, n_units: int) -> np.ndarray:
        """The zero of every unit, then that of the constant and of no unit: negative ids find them from the end."""
        return self._empty(*self.stack, n_units + 2)

    def copy(self, vector: np.ndarray) -> np.ndarray:
        """The same values, apart."""
        return vector.copy()

    def put(self, vector: np.ndarray, units: np.ndarray, one: bool) -> None:
        """Make units one or zero."""
        vector[..., units] = self.one if one else self.zero

    def units(self, vector: np.ndarray) -> np.ndarray:
        """The value of each unit, (n_units,)."""
        return vector[..., :-2]

    def of_mask(self, mask: Mask) -> np.ndarray:
        """A mask's connections as values: one where kept."""
        return self.under(np.broadcast_to(self.one, (*self.stack, *mask.shape)), mask)

    def given(self, name: str, values: Any, shape: Shape) -> Any:
        """What is given for a parameter, as this algebra holds it. Raises ArgumentError where its shape is another."""
        held = values if isinstance(values, Listed) else np.asarray(values, self.dtype)
        if isinstance(held, np.ndarray) and held.shape != (*self.stack, *shape):
            raise ArgumentError(f"values must have the shape {tuple(shape)}", place=name, received=held.shape)
        return held

    def under(self, values: np.ndarray, mask: Mask) -> np.ndarray:
        """The values of connections, zero where a mask drops them."""
        return np.where(mask.unpack(), values, self.zero).astype(self.dtype, copy=False)

    def forwards(self, kernel: Kernel, values: np.ndarray | Listed, vector: np.ndarray) -> None:
        """Add to the targets what connections bring from the sources."""
        y = self.brought(kernel, values, vector)
        self._write(y, kernel.targets, own_table(kernel.taps.positions), vector)

    def brought(self, kernel: Kernel, values: np.ndarray | Listed, vector: np.ndarray) -> np.ndarray:
        """What connections bring from the sources to each row, (rows of all groups, positions)."""
        y = self._empty(prod(kernel.targets.shape[:2]), kernel.taps.positions)
        if isinstance(values, Listed):
            values.carry(self.element, kernel, vector[kernel.sources], y, back=False)
            return y
        rows, x = self._rows(kernel, values), self._inputs(kernel, vector)
        ceiling, work = self._ceiling(x), max(rows.nbytes, x.nbytes)
        over(len(rows), work, lambda a, b: loops.forwards(self.element, rows, x, ceiling, y, a, b))
        return y

    def backwards(self, kernel: Kernel, values: np.ndarray | Listed, vector: np.ndarray) -> None:
        """Add to the sources what their connections bring from the targets."""
        y = self._outputs(kernel, vector)
        if isinstance(values, Listed):
            x = self._empty(*kernel.sources.shape)
            values.carry(self.element, kernel, x, y, back=True)
            self._write(x, kernel.sources, own_table(kernel.sources.shape[2]), vector)
        else:
            self._write(self.brought_back(kernel, values, y), kernel.sources, kernel.taps.table, vector)

    def brought_back(self, kernel: Kernel, values: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What connections bring to each column, (groups, columns, positions), from ``y`` (rows of all groups, positions)."""
        rows, groups = self._rows(kernel, values), len(kernel.targets)
        x = self._empty(groups, rows.shape[1], y.shape[1])
        ceiling, work = self._ceiling(y.reshape(groups, -1, y.shape[1])), max(rows.nbytes, x.nbytes)
        over(rows.shape[1], work, lambda a, b: loops.backwards(self.element, rows, y, ceiling, x, a, b), CACHE_LINE)
        return x

    def connections(self, uses: Uses, shape: Shape, origin: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """What each entry of a parameter carries from a source to a sink: the sum over its uses and their positions."""
        uses, size, shape = list(uses), prod(shape), (*self.stack, *shape)
        if len(uses) == 1 and uses[0][0].view.covers(size):
            return self._carried(*uses[0], origin, reach).reshape(shape)
        flat = self._empty(prod(self.stack), size + 1)  # the last is for elements that are always zero
        for kernel, values in uses:
            entries = np.where(kernel.view.entries() < 0, size, kernel.view.entries()).ravel()
            for into, carried in zip(flat, self._each(self._carried(kernel, values, origin, reach)), strict=True):
                loops.add_at(self.element, into, entries, carried)
        return flat[:, :size].reshape(shape)

    def count(self, uses: Uses, shape: Shape, origin: np.ndarray, reach: np.ndarray) -> int:
        """How many entries of a parameter carry anything."""
        return int(np.count_nonzero(self.connections(uses, shape, origin, reach) != self.zero))

    def join(self, vector: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add to the targets what their sources hold, wire by wire."""
        for units in self._each(vector):
            loops.join(self.element, units, sources, targets)

    def gate(self, signal: np.ndarray, nonzero: np.ndarray, known: bool, lefts, rights, targets) -> None:
        """Each operand's signal passes as far as the other is not zero; which is found here if it is not known."""
        for units, there in zip(self._each(signal), self._each(nonzero), strict=True):
            loops.gate(self.element, units, there, known, lefts, rights, targets)

    def gate_back(self, reach: np.ndarray, nonzero: np.ndarray, lefts, rights, targets) -> None:
        """An operand reaches what the product reaches, as far as the other operand is not zero."""
        for units, there in zip(self._each(reach), self._each(nonzero), strict=True):
            loops.gate_back(self.element, units, there, lefts, rights, targets)

    def _write(self, maps: np.ndarray, ids: np.ndarray, table: np.ndarray, vector: np.ndarray) -> None:
        """Add maps, one per channel and tap of a table, to the units that they are read from."""
        ids = ids_of(ids)
        maps = maps.reshape(prod(self.stack), len(ids) * len(table), table.shape[1])
        for own, units in zip(maps, self._each(vector), strict=True):
            loops.write(self.element, own, ids, table, units)

    def _each(self, array: np.ndarray) -> np.ndarray:
        """The values of a stack, each flat, in their own memory."""
        return array.reshape(prod(self.stack), -1)

    def _carried(self, kernel: Kernel, values: np.ndarray, origin: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """What each element of a kernel carries, (rows of all groups, columns)."""
        rows, x, y = self._rows(kernel, values), self._inputs(kernel, origin), self._outputs(kernel, reach)
        out, anywhere, ceiling = np.empty_like(rows), self._empty(*x.shape[:2]), self._ceiling(x)
        loops.totals(self.element, x.reshape(-1, x.shape[2]), anywhere.reshape(-1))
        work = max(rows.nbytes, x.nbytes)
        over(len(rows), work, lambda a, b: loops.connections(self.element, rows, x, anywhere, ceiling, y, out, a, b))
        return out

    def _rows(self, kernel: Kernel, values: np.ndarray | Listed) -> np.ndarray:
        """The kernel's values (rows of all groups, columns), contiguous along columns."""
        values = values.dense(self.zero) if isinstance(values, Listed) else values
        flat = np.ascontiguousarray(values).reshape(-1)
        found = kernel.view.of(flat, self.zero)
        rows = found.reshape(prod(found.shape[:2]), found.shape[2])
        return rows if rows.strides[1] == rows.itemsize else np.ascontiguousarray(rows)

    def _empty(self, *shape: int) -> np.ndarray:
        return np.full(shape, self.zero, self.dtype)

    def _inputs(self, kernel: Kernel, vector: np.ndarray) -> np.ndarray:
        """What each column reads, (groups, columns, positions)."""
        ids = ids_of(kernel.sources)
        x = np.empty((len(ids) * len(kernel.taps.table), kernel.taps.positions), self.dtype)
        loops.read(self.element, vector, ids, kernel.taps.table, x)
        return x.reshape(kernel.sources.shape[0], -1, x.shape[1])

    def _outputs(self, kernel: Kernel, vector: np.ndarray) -> np.ndarray:
        """What each row feeds, (rows of all groups, positions)."""
        return vector[ids_of(kernel.targets)]

    def _ceiling(self, maps: np.ndarray) -> np.ndarray:
        ceiling = self._empty(len(maps), maps.shape[2])
        loops.ceilings(self.element, maps, ceiling)
        return ceiling


def ids_of(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])

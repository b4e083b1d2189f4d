"""The boolean sweep as torch operations, where the masks are: on a GPU without a copy from the host.

A connection or unit is alive where a product of matrices of zeros and ones exceeds zero. Sums of ones may leave the range of
half precision: they are infinite then, and still exceed zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch

from graphsparse.kernels.layout import NO_UNIT, Kernel, Places, Taps
from graphsparse.kernels.masks import Mask

Ids = np.ndarray
Uses = Iterable[tuple[Kernel, torch.Tensor]]


class OnDevice:
    """The algebra (or, and) with tensors of zeros and ones on a device; the indices of a graph are moved there once.

    A sweep of a small network takes as long as it takes to start its operations, so each step is as few as can be.
    """

    name = "or_and_on_device"
    conditions = False
    zero, one = False, True

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)
        self.dtype = torch.float32 if self.device.type == "cpu" else torch.float16
        self._held: dict[tuple[int, str | bytes], tuple[Any, Any]] = {}

    def vector(self, n_units: int) -> torch.Tensor:
        """The zero of every unit, then that of the constant and of no unit."""
        return torch.zeros(n_units + 2, dtype=self.dtype, device=self.device)

    def copy(self, vector: torch.Tensor) -> torch.Tensor:
        """The same values, apart."""
        return vector.clone()

    def put(self, vector: torch.Tensor, units: np.ndarray, one: bool) -> None:
        """Make units one or zero. Which ones, a block may work out at each sweep: they are known by their ids."""
        ids = self._kept(units, units.tobytes(), lambda: self._moved(units))
        vector[ids] = float(one)

    def units(self, vector: torch.Tensor) -> np.ndarray:
        """The value of each unit, bool (n_units,), on the host."""
        return (vector[:-2] > 0).cpu().numpy()

    def of_mask(self, mask: Mask) -> torch.Tensor:
        """A mask's connections as values: one where kept."""
        return self._kept(mask, "values", lambda: torch.from_numpy(mask.unpack()).to(self.device, self.dtype))

    def given(self, name: str, values: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """What is given for a parameter; `DeviceSweep` has checked it."""
        return values

    def under(self, values: torch.Tensor, mask: Mask) -> torch.Tensor:
        """The values of connections, zero where a mask drops them."""
        return values * self.of_mask(mask)

    def forwards(self, kernel: Kernel, values: torch.Tensor, vector: torch.Tensor) -> None:
        """Add to the targets what kept connections bring."""
        brought = self._rows(kernel, values) @ self._inputs(kernel, vector)
        self._add(vector, self._units(kernel.targets), brought)

    def backwards(self, kernel: Kernel, values: torch.Tensor, vector: torch.Tensor) -> None:
        """Add to the sources what their kept connections bring from the targets."""
        rows, taps = self._rows(kernel, values), len(kernel.taps.table)
        feeds = self._kept(kernel.taps, "feeds", lambda: self._feeds(kernel.taps))
        if feeds is not None:  # what each unit feeds by each tap: one product, and nothing meets in one place
            (groups, n_rows), channels = rows.shape[:2], kernel.sources.shape[1]
            fed = self._read(vector, kernel.targets, *feeds).reshape(groups, n_rows * taps, -1)
            by_tap = rows.reshape(groups, n_rows, channels, taps).transpose(1, 2).reshape(groups, channels, -1)
            self._add(vector, self._units(kernel.sources), by_tap @ fed)
        else:
            into = self._kept(kernel, "read", lambda: self._places(_padded(kernel.sources)[:, :, kernel.taps.table]))
            self._add(vector, into, rows.transpose(1, 2) @ self._outputs(kernel, vector))

    def connections(
        self, uses: Uses, shape: tuple[int, ...], origin: torch.Tensor, reach: torch.Tensor
    ) -> torch.Tensor:
        """Which entries of a parameter are active in any of its uses, bool, in its shape."""
        found = torch.zeros((), dtype=torch.bool, device=self.device)
        for kernel, values in uses:
            met = self._outputs(kernel, reach) @ self._inputs(kernel, origin).transpose(1, 2)
            active = met.mul_(self._rows(kernel, values))  # infinity times zero is no number, which exceeds nothing
            if not kernel.view.covers(prod(shape)):
                whole = self.vector(prod(shape))  # what is always zero has entry -1, as padding has among units
                entries = self._kept(kernel, "entries", partial(self._entries, kernel))
                self._add(whole, entries, active.nan_to_num_(0))
                active = whole[:-2]
            active = active.reshape(shape) > 0
            found = active if found.dim() == 0 else found | active
        return found.expand(shape)

    def count(self, uses: Uses, shape: tuple[int, ...], origin: torch.Tensor, reach: torch.Tensor) -> int:
        """How many entries of a parameter are active."""
        return int(self.connections(uses, shape, origin, reach).sum())

    def join(self, vector: torch.Tensor, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add to the targets of wires what their sources hold."""
        self._add(vector, self._units(targets), vector[self._ids(sources)])

    def gate(
        self, signal: torch.Tensor, nonzero: torch.Tensor, known: bool, lefts: Ids, rights: Ids, targets: Ids
    ) -> None:
        """Signal where one operand is signal and the other not zero; not zero where both are not zero."""
        a, b, into = self._ids(lefts), self._ids(rights), self._units(targets)
        moved = torch.maximum(signal[a] * nonzero[b], nonzero[a] * signal[b])
        self._add(nonzero, into, nonzero[a] * nonzero[b])
        self._add(signal, into, moved)

    def gate_back(self, reach: torch.Tensor, nonzero: torch.Tensor, lefts: Ids, rights: Ids, targets: Ids) -> None:
        """An operand reaches what the product reaches while the other operand is not zero."""
        a, b, reached = self._ids(lefts), self._ids(rights), reach[self._ids(targets)]
        self._add(reach, self._units(lefts), reached * nonzero[b])
        self._add(reach, self._units(rights), reached * nonzero[a])

    def _rows(self, kernel: Kernel, values: torch.Tensor) -> torch.Tensor:
        """The kernel's values, (groups, rows, columns)."""
        view = kernel.view
        if isinstance(view, Places):
            found = torch.cat([values.reshape(-1), values.new_zeros(1)])[self._ids(view.index)]
        else:
            found = torch.as_strided(values.contiguous(), view.shape, view.strides, view.offset)
        return found.reshape(*kernel.targets.shape[:2], -1)

    def _inputs(self, kernel: Kernel, vector: torch.Tensor) -> torch.Tensor:
        """What each column reads, (groups, columns, positions)."""
        table = self._kept(kernel.taps, "table", lambda: self._table(kernel.taps.table, kernel.taps.size))
        read = self._read(vector, kernel.sources, table)
        return read.reshape(kernel.sources.shape[0], -1, kernel.taps.positions)

    def _outputs(self, kernel: Kernel, vector: torch.Tensor) -> torch.Tensor:
        """What each row feeds, (groups, rows, positions)."""
        return vector[self._ids(kernel.targets)]

    def _read(self, vector: torch.Tensor, ids: np.ndarray, table: torch.Tensor | None) -> torch.Tensor:
        """What a table (taps, places) reads of units (groups, maps, size), -1 nothing: (groups, maps, taps, places)."""
        if table is None:
            return vector[self._ids(ids)]
        padded = self._kept(ids, "padded", lambda: self._moved(_padded(ids)))
        return vector[padded][:, :, table]

    def _table(self, table: np.ndarray, size: int) -> torch.Tensor | None:
        """A table on the device; None where one tap reads everything as it is."""
        return None if np.array_equal(table, np.arange(size)[None]) else self._moved(table)

    def _feeds(self, taps: Taps) -> tuple[torch.Tensor | None] | None:
        """The table of where each tap reads each unit of a channel, (taps, size), -1 nowhere; None where at several."""
        feeds = np.full((len(taps.table), taps.size), -1)
        tap, position = np.nonzero(taps.table >= 0)
        feeds[tap, taps.table[tap, position]] = position
        alone = np.count_nonzero(feeds >= 0) == len(tap)
        return (self._table(feeds, taps.positions),) if alone else None

    def _add(self, vector: torch.Tensor, into: slice | torch.Tensor, values: torch.Tensor) -> None:
        """Make elements one where a value exceeds zero; those of no unit and of the constant, the last two, stay."""
        ones = values.reshape(-1).sign()
        if isinstance(into, slice):
            torch.maximum(vector[into], ones, out=vector[into])
            return
        ends = vector[-2:].clone()
        vector.scatter_reduce_(0, into % len(vector), ones, "amax")
        vector[-2:] = ends

    def _places(self, ids: np.ndarray) -> slice | torch.Tensor:
        """Where results go: a slice where ids follow each other, else the ids."""
        first = int(ids.flat[0]) if ids.size else 0
        if first >= 0 and np.array_equal(ids.ravel(), np.arange(first, first + ids.size)):
            return slice(first, first + ids.size)
        return self._moved(ids.ravel())

    def _entries(self, kernel: Kernel) -> slice | torch.Tensor:
        """The index in the flat parameter of each element of a kernel, -1 where it is always zero."""
        return self._places(kernel.view.entries())

    def _units(self, ids: np.ndarray) -> slice | torch.Tensor:
        return self._kept(ids, "places", lambda: self._places(ids))

    def _ids(self, array: np.ndarray) -> torch.Tensor:
        return self._kept(array, "ids", lambda: self._moved(array))

    def _moved(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(array, np.int64)).to(self.device)

    def _kept(self, owner: Any, what: str | bytes, make: Callable[[], Any]) -> Any:
        """Made once for its owner, which is held so that nothing else takes its identity.

        Bytes say all that there is to know of the owner, whichever it is.
        """
        key = (id(owner) if isinstance(what, str) else 0, what)
        if key not in self._held:
            self._held[key] = (owner, make())
        return self._held[key][1]


def _padded(ids: np.ndarray) -> np.ndarray:
    """Ids of units with no unit behind the last of each map, which is what -1 reads."""
    return np.pad(ids, ((0, 0), (0, 0), (0, 1)), constant_values=NO_UNIT)

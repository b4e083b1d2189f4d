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

from graphsparse.kernels.layout import NO_UNIT, Kernel, Places
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
        """The zero of every unit, then of a place that takes what no unit takes, of the constant and of no unit."""
        return torch.zeros(n_units + 3, dtype=self.dtype, device=self.device)

    def copy(self, vector: torch.Tensor) -> torch.Tensor:
        """The same values, apart."""
        return vector.clone()

    def put(self, vector: torch.Tensor, units: np.ndarray, one: bool) -> None:
        """Make units one or zero. Which ones, a block may work out at each sweep: they are known by their ids."""
        ids = self._kept(units, units.tobytes(), lambda: self._moved(units % len(vector)).long())
        vector.index_fill_(0, ids, float(one))

    def units(self, vector: torch.Tensor) -> np.ndarray:
        """The value of each unit, bool (n_units,), on the host."""
        return (vector[:-3] > 0).cpu().numpy()

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
        self._add(vector, kernel.targets, self._rows(kernel, values) @ self._inputs(kernel, vector))

    def backwards(self, kernel: Kernel, values: torch.Tensor, vector: torch.Tensor) -> None:
        """Add to the sources what their kept connections bring from the targets."""
        rows, taps = self._rows(kernel, values), len(kernel.taps.table)
        feeds = self._kept(kernel, "feeds", partial(_feeds, kernel))
        if feeds is not None:  # what each unit feeds by each tap: one product, and nothing meets in one place
            (groups, n_rows), channels = rows.shape[:2], kernel.sources.shape[1]
            fed = self._read(vector, feeds).reshape(groups, n_rows * taps, -1)
            by_tap = rows.reshape(groups, n_rows, channels, taps).transpose(1, 2).reshape(groups, channels, -1)
            self._add(vector, kernel.sources, by_tap @ fed)
        else:
            into = self._kept(kernel, "inputs", partial(_inputs, kernel))
            self._add(vector, into, rows.transpose(1, 2) @ self._read(vector, kernel.targets))

    def connections(
        self, uses: Uses, shape: tuple[int, ...], origin: torch.Tensor, reach: torch.Tensor
    ) -> torch.Tensor:
        """Which entries of a parameter are active in any of its uses, bool, in its shape."""
        found: torch.Tensor | None = None
        for kernel, values in uses:
            met = self._read(reach, kernel.targets) @ self._inputs(kernel, origin).transpose(1, 2)
            active = met.logical_and(self._rows(kernel, values))
            if not kernel.view.covers(prod(shape)):
                whole = self.vector(prod(shape))  # what is always zero has entry -1, as padding has among units
                self._add(whole, self._kept(kernel, "entries", kernel.view.entries), active.to(self.dtype))
                active = whole[:-3] > 0
            active = active.reshape(shape)
            found = active if found is None else found | active
        return torch.zeros(shape, dtype=torch.bool, device=self.device) if found is None else found

    def count(self, uses: Uses, shape: tuple[int, ...], origin: torch.Tensor, reach: torch.Tensor) -> int:
        """How many entries of a parameter are active."""
        return int(self.connections(uses, shape, origin, reach).sum())

    def join(self, vector: torch.Tensor, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add to the targets of wires what their sources hold."""
        self._add(vector, targets, self._read(vector, sources))

    def gate(
        self, signal: torch.Tensor, nonzero: torch.Tensor, known: bool, lefts: Ids, rights: Ids, targets: Ids
    ) -> None:
        """Signal where one operand is signal and the other not zero; not zero where both are not zero."""
        a, b = self._read(nonzero, lefts), self._read(nonzero, rights)
        moved = torch.maximum(self._read(signal, lefts) * b, a * self._read(signal, rights))
        self._add(nonzero, targets, a * b)
        self._add(signal, targets, moved)

    def gate_back(self, reach: torch.Tensor, nonzero: torch.Tensor, lefts: Ids, rights: Ids, targets: Ids) -> None:
        """An operand reaches what the product reaches while the other operand is not zero."""
        reached = self._read(reach, targets)
        self._add(reach, lefts, reached * self._read(nonzero, rights))
        self._add(reach, rights, reached * self._read(nonzero, lefts))

    def _rows(self, kernel: Kernel, values: torch.Tensor) -> torch.Tensor:
        """The kernel's values, (groups, rows, columns)."""
        view = kernel.view
        if isinstance(view, Places):
            found = self._read(torch.cat([values.reshape(-1), values.new_zeros(1)]), view.index)
        else:
            found = torch.as_strided(values.contiguous(), view.shape, view.strides, view.offset)
        return found.reshape(*kernel.targets.shape[:2], -1)

    def _inputs(self, kernel: Kernel, vector: torch.Tensor) -> torch.Tensor:
        """What each column reads, (groups, columns, positions)."""
        return self._read(vector, self._kept(kernel, "inputs", partial(_inputs, kernel)))

    def _read(self, vector: torch.Tensor, ids: np.ndarray) -> torch.Tensor:
        """The values of units in the shape of their ids: a view where the ids follow each other."""
        places = self._kept(ids, "read", lambda: _slice(ids) or self._moved(ids % len(vector)))
        found = vector[places] if isinstance(places, slice) else vector.index_select(0, places)
        return found.view(ids.shape)

    def _add(self, vector: torch.Tensor, ids: np.ndarray, values: torch.Tensor) -> None:
        """Make units one where a value exceeds zero."""
        places, values = self._kept(ids, "add", partial(self._places, ids, len(vector))), values.reshape(-1)
        if isinstance(places, slice):
            torch.logical_or(vector[places], values, out=vector[places])
        else:
            vector.scatter_reduce_(0, places, values.sign(), "amax")

    def _places(self, ids: np.ndarray, length: int) -> slice | torch.Tensor:
        """Where in a vector values are added; those of no unit where nobody reads them."""
        return _slice(ids) or self._moved(np.where(ids < 0, length - 3, ids)).long()

    def _moved(self, ids: np.ndarray) -> torch.Tensor:
        """Indices on the device, of four bytes where they fit: only reading takes these."""
        short = ids.size == 0 or int(ids.max()) <= np.iinfo(np.int32).max
        return torch.from_numpy(ids.ravel().astype(np.int32 if short else np.int64)).to(self.device)

    def _kept(self, owner: Any, what: str | bytes, make: Callable[[], Any]) -> Any:
        """Made once for its owner, which is held so that nothing else takes its identity.

        Bytes say all that there is to know of the owner, whichever it is.
        """
        key = (id(owner) if isinstance(what, str) else 0, what)
        if key not in self._held:
            self._held[key] = (owner, make())
        return self._held[key][1]


def _slice(ids: np.ndarray) -> slice | None:
    """Units that follow each other as a slice."""
    first = int(ids.flat[0]) if ids.size else 0
    follow = first >= 0 and np.array_equal(ids.ravel(), np.arange(first, first + ids.size))
    return slice(first, first + ids.size) if follow else None


def _inputs(kernel: Kernel) -> np.ndarray:
    """Which unit each column reads, (groups, columns, positions)."""
    found = _padded(kernel.sources)[:, :, kernel.taps.table]
    return found.reshape(len(found), -1, kernel.taps.positions)


def _feeds(kernel: Kernel) -> np.ndarray | None:
    """Which unit each source's place feeds by each tap, (groups, rows, taps, size); None where it feeds several."""
    taps = kernel.taps
    feeds = np.full((len(taps.table), taps.size), -1)
    tap, position = np.nonzero(taps.table >= 0)
    feeds[tap, taps.table[tap, position]] = position
    alone = np.count_nonzero(feeds >= 0) == len(tap)
    return _padded(kernel.targets)[:, :, feeds] if alone else None


def _padded(ids: np.ndarray) -> np.ndarray:
    """Ids of units with no unit behind the last of each map, which is what -1 reads."""
    return np.pad(ids, ((0, 0), (0, 0), (0, 1)), constant_values=NO_UNIT)

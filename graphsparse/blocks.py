"""The ways that units connect: kernels of a parameter, fixed wiring, and gates; and what happens to
units on the way, lifts and scales.

A block is data, read by every pass. Each answers four questions: what reaches its targets (`forwards`), what its
sources reach (`backwards`), what each of its connections carries (`connections`), and which pairs of units it joins
(`pairs`). Unit ids are int32; -1 is no unit (padding, a constant zero) and -2 a constant that is not zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from graphsparse.kernels import lines, sweeps, wires
from graphsparse.kernels.columns import Taps
from graphsparse.kernels.lines import Lines, lines_of
from graphsparse.kernels.packed import PackedMask, dense

NO_UNIT, CONSTANT = -1, -2


@dataclass(frozen=True, eq=False)
class State:
    """Two numbers per unit, each (units + 2,) with the constant and the missing unit last: where an input moves it, and
    where it is not zero. ``nonzero`` is None where no product and no constant is asked for."""

    signal: np.ndarray
    nonzero: np.ndarray | None

    @property
    def vectors(self) -> tuple[np.ndarray, ...]:
        """The numbers that are there."""
        return (self.signal,) if self.nonzero is None else (self.signal, self.nonzero)


@dataclass(frozen=True, eq=False)
class Lift:
    """What makes units not zero by itself: a bias, a shift, or a function with f(0) != 0.

    ``units`` are ids. With a ``parameter``, only those whose entry (flat index in ``entries``) is kept are lifted.
    """

    units: np.ndarray
    parameter: str | None = None
    entries: np.ndarray | None = None

    def forwards(self, kept: Mapping[str, np.ndarray], state: State, zero: float, one: float) -> None:
        """Make the units not zero."""
        if state.nonzero is not None:
            units = (
                self.units
                if self.parameter is None
                else self.units[dense(kept[self.parameter]).ravel()[self.entries] != 0]
            )
            state.nonzero[units] = one


@dataclass(frozen=True, eq=False)
class Scale:
    """Units multiplied by entries of a parameter: normalisation weights, layer scale. No connections, never counted.

    ``units`` are ids; ``entries`` flat indices in the parameter. A unit whose entry is not kept is zero.
    """

    units: np.ndarray
    parameter: str
    entries: np.ndarray

    def cut(self, kept: Mapping[str, np.ndarray]) -> np.ndarray:
        """The units whose entry is not kept."""
        scale = dense(kept[self.parameter]).ravel()
        return self.units[:0] if scale.all() else self.units[scale[self.entries] == 0]

    def forwards(self, kept: Mapping[str, np.ndarray], state: State, zero: float, one: float) -> None:
        """Make the units zero whose entry is not kept."""
        for vector in state.vectors:
            vector[self.cut(kept)] = zero

    def backwards(self, kept: Mapping[str, np.ndarray], reach: np.ndarray, zero: float) -> None:
        """What a unit reaches, it reaches only where its entry is kept."""
        reach[self.cut(kept)] = zero


@dataclass(frozen=True)
class View:
    """Where a kernel lies in its parameter: the strided view (groups, rows, *columns) of the flat parameter.

    The column axes are the channels and then the taps; together they are the columns of a block.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def _table(self) -> tuple[int, int, int]:
        """(groups, rows, columns); said in full, for NumPy cannot infer an axis of a kernel without entries."""
        return self.shape[0], self.shape[1], prod(self.shape[2:])

    def of(self, flat: np.ndarray) -> np.ndarray:
        """The view (groups, rows, columns) of a flat parameter; shares its memory where the strides allow."""
        if self.covers(flat.size):
            return flat.reshape(self._table)
        strides = [s * flat.itemsize for s in self.strides]
        grouped = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides)
        return grouped.reshape(self._table)

    @lru_cache(maxsize=4096)  # noqa: B019  a view is four tuples of numbers; asked for in every sweep of every block
    def covers(self, size: int) -> bool:
        """Whether the view is the whole parameter of that size in its own order."""
        dense = [prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        ordered = all(n == 1 or s == d for n, s, d in zip(self.shape, self.strides, dense, strict=True))
        return self.offset == 0 and ordered and prod(self.shape) == size

    def lines(self, mask: PackedMask) -> Lines | None:
        """The view as lines of a parameter's bits, which stay where they are; None where it is none."""
        return lines_of(mask, self.offset, self.shape, self.strides)

    def entries(self) -> np.ndarray:
        """The index in the flat parameter of each element of the view."""
        axes = np.ogrid[tuple(slice(n) for n in self.shape)]
        index = self.offset + sum(axis * stride for axis, stride in zip(axes, self.strides, strict=True))
        return np.asarray(index).reshape(self._table)


@dataclass(frozen=True, eq=False)
class Places:
    """Where a kernel lies in its parameter where no strides can say it: the flat index of each element, (groups, rows, columns).

    -1 is an element that is always zero, whatever the parameter holds.
    """

    index: np.ndarray

    def of(self, flat: np.ndarray) -> np.ndarray:
        """The kernel (groups, rows, columns) of a flat parameter, a copy."""
        return np.append(flat, np.asarray([-np.inf if flat.dtype.kind == "f" else 0], flat.dtype))[self.index]

    def covers(self, size: int) -> bool:
        """Whether the kernel is the whole parameter in its own order; never, for then strides would say it."""
        return False

    def lines(self, mask: PackedMask) -> None:
        """None, for then strides would say it."""

    def entries(self) -> np.ndarray:
        """The index in the flat parameter of each element."""
        return self.index


@dataclass(frozen=True, eq=False)
class KernelBlock:
    """A linear, convolution or embedding operation: one connection per entry of its view of the parameter.

    ``sources`` (groups, channels, size) and ``targets`` (groups, rows, positions) are unit ids; ``taps`` says which of
    the ``size`` units of a channel a tap reads at each position.
    """

    parameter: str
    view: View | Places
    sources: np.ndarray
    targets: np.ndarray
    taps: Taps

    def forwards(self, values: Mapping[str, np.ndarray], state: State) -> None:
        """Add to the targets what kept connections bring."""
        kernel, sweep = self._kernel(values)
        for vector in state.vectors:
            sweep.forwards(kernel, vector, self.sources, self.taps, self.targets)

    def backwards(self, values: Mapping[str, np.ndarray], state: State, reach: np.ndarray) -> None:
        """Add to the sources what they reach along kept connections."""
        kernel, sweep = self._kernel(values)
        sweep.backwards(kernel, reach, self.sources, self.taps, self.targets)

    def connections(self, values: Mapping[str, Any], origin: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """What each connection carries from ``origin`` (the signal of a state) to a sink, in the view's shape."""
        return sweeps.connections(self._dense(values), origin, reach, self.sources, self.taps, self.targets)

    def mark(self, values: Mapping[str, Any], origin: np.ndarray, reach: np.ndarray, active: PackedMask) -> None:
        """Set the bits of the active connections, where `bits` says that the values stay bits."""
        bits = self.bits(values)
        assert bits is not None
        lines.mark(bits, origin, reach, self.sources, self.taps, self.targets, active.words)

    def count(self, values: Mapping[str, Any], origin: np.ndarray, reach: np.ndarray) -> int:
        """How many connections are active, where `bits` says that the values stay bits."""
        bits = self.bits(values)
        assert bits is not None
        return lines.count_connections(bits, origin, reach, self.sources, self.taps, self.targets)

    def bits(self, values: Mapping[str, Any]) -> Lines | None:
        """The values as lines of bits; None where they are no bits, or must be unpacked to be swept."""
        value = values[self.parameter]
        return self.view.lines(value) if isinstance(value, PackedMask) and self.taps.positions == 1 else None

    def _kernel(self, values: Mapping[str, Any]) -> tuple[Any, Any]:
        """The values as the sweeps take them, and the module that takes them so: bits stay bits where they can."""
        bits = self.bits(values)
        return (self._dense(values), sweeps) if bits is None else (bits, lines)

    def _dense(self, values: Mapping[str, Any]) -> np.ndarray:
        kernel = self.view.of(dense(values[self.parameter]).reshape(-1))
        return kernel if kernel.strides[2] == kernel.itemsize else np.ascontiguousarray(kernel)

    def pairs(self, kept: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, targets and parameter entries of the kept connections, one of each per position they act at."""
        entries = self.view.entries()
        g, o, j = np.nonzero(self.view.of(dense(kept[self.parameter]).reshape(-1)))
        channel, tap = np.divmod(j, len(self.taps.table))
        position = self.taps.table[tap]
        sources = self.sources[g[:, None], channel[:, None], position]
        seen = (position >= 0) & (sources >= 0)
        count = seen.sum(1)
        return sources[seen], self.targets[g, o][seen], np.repeat(entries[g, o, j], count)


@dataclass(frozen=True, eq=False)
class Wiring:
    """Fixed wires: a target is the sum, mean, maximum or any mixture of its sources. Arrays (wires,) of unit ids."""

    sources: np.ndarray
    targets: np.ndarray

    def forwards(self, values: Mapping[str, np.ndarray], state: State) -> None:
        """Add to the targets what their sources hold."""
        for vector in state.vectors:
            wires.join_forwards(vector, self.sources, self.targets)

    def backwards(self, values: Mapping[str, np.ndarray], state: State, reach: np.ndarray) -> None:
        """Add to the sources what their targets reach."""
        wires.join_backwards(reach, self.sources, self.targets)

    def pairs(self, kept: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, None]:
        """Sources and targets of every wire."""
        real = self.sources >= 0
        return self.sources[real], self.targets[real], None


@dataclass(frozen=True, eq=False)
class Gate:
    """Products of two activations: a target is the sum over its entries of left times right. Arrays of unit ids."""

    lefts: np.ndarray
    rights: np.ndarray
    targets: np.ndarray

    def forwards(self, values: Mapping[str, np.ndarray], state: State) -> None:
        """Signal where one operand is signal and the other not zero; not zero where both are not zero."""
        assert state.nonzero is not None, "a graph with gates is swept with both states"
        wires.gate_forwards(state.signal, state.nonzero, self.lefts, self.rights, self.targets)

    def backwards(self, values: Mapping[str, np.ndarray], state: State, reach: np.ndarray) -> None:
        """An operand reaches what the product reaches while the other operand is not zero."""
        assert state.nonzero is not None, "a graph with gates is swept with both states"
        wires.gate_backwards(reach, state.nonzero, self.lefts, self.rights, self.targets)

    def pairs(self, kept: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, None]:
        """Both operands of every product, each with its target."""
        sources, targets = np.concatenate([self.lefts, self.rights]), np.concatenate([self.targets, self.targets])
        real = sources >= 0
        return sources[real], targets[real], None


Block = KernelBlock | Wiring | Gate
Stage = Lift | Scale

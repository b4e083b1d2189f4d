"""The ways that units connect: kernels of a parameter, fixed wires, and gates; and what happens to units on the way.

A block is data that every sweep reads. It answers what reaches its targets (`forwards`), what its sources reach
(`backwards`) and which pairs of units it joins (`pairs`), in any algebra. Unit ids are int32; -1 is no unit (padding, a
constant zero) and -2 a constant that is not zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphsparse.algebras import Algebra
from graphsparse.kernels.layout import CONSTANT, NO_UNIT, Kernel, Places, Taps, View
from graphsparse.kernels.masks import Mask

__all__ = ["CONSTANT", "NO_UNIT", "Block", "Gate", "KernelBlock", "Lift", "Places", "Scale", "Stage", "State", "Taps",
           "View", "Wiring"]  # fmt: skip

Values = Mapping[str, Any]
"""What each connection carries, by parameter: masks in the algebra (or, and), arrays in others."""


@dataclass(frozen=True, eq=False)
class State:
    """Two values per unit in an algebra's own form: how an input moves it, and how it is not zero.

    ``nonzero`` is None where no product and no constant is asked for. ``known``: it is known before the sweep.
    """

    signal: Any
    nonzero: Any | None
    known: bool = False

    @property
    def vectors(self) -> tuple[Any, ...]:
        """The values that the sweep finds."""
        return (self.signal,) if self.nonzero is None or self.known else (self.signal, self.nonzero)


@dataclass(frozen=True, eq=False)
class Lift:
    """What makes units not zero by itself: a bias, a shift, or a function with f(0) != 0.

    ``units`` are ids. With a ``parameter``, only those whose entry (flat index in ``entries``) is kept are lifted.
    """

    units: np.ndarray
    parameter: str | None = None
    entries: np.ndarray | None = None

    def forwards(self, kept: Mapping[str, Mask], state: State, algebra: Algebra) -> None:
        """Make the units not zero."""
        if len(state.vectors) == 1:
            return
        units = self.units
        if self.parameter is not None:
            units = units[kept[self.parameter].unpack().ravel()[self.entries]]
        algebra.put(state.nonzero, units, True)


@dataclass(frozen=True, eq=False)
class Scale:
    """Units multiplied by entries of a parameter: normalisation weights, layer scale. No connections, never counted.

    ``units`` are ids; ``entries`` flat indices in the parameter. A unit whose entry is not kept is zero.
    """

    units: np.ndarray
    parameter: str
    entries: np.ndarray

    def cut(self, kept: Mapping[str, Mask]) -> np.ndarray:
        """The units whose entry is not kept."""
        scale = kept[self.parameter]
        return self.units[:0] if scale.complete else self.units[~scale.unpack().ravel()[self.entries]]

    def forwards(self, kept: Mapping[str, Mask], state: State, algebra: Algebra) -> None:
        """Make the units zero whose entry is not kept."""
        units = self.cut(kept)
        for vector in state.vectors if len(units) else ():
            algebra.put(vector, units, False)

    def backwards(self, kept: Mapping[str, Mask], reach: Any, algebra: Algebra) -> None:
        """What a unit reaches, it reaches only where its entry is kept."""
        units = self.cut(kept)
        if len(units):
            algebra.put(reach, units, False)


class KernelBlock(Kernel):
    """A linear, convolution or embedding operation: one connection per entry of its view of the parameter."""

    def forwards(self, values: Values, state: State, algebra: Algebra) -> None:
        """Add to the targets what connections bring."""
        for vector in state.vectors:
            algebra.forwards(self, values[self.mask], vector)

    def backwards(self, values: Values, state: State, reach: Any, algebra: Algebra) -> None:
        """Add to the sources what they reach along connections."""
        algebra.backwards(self, values[self.mask], reach)

    def pairs(self, kept: Mapping[str, Mask]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, targets and parameter entries of the kept connections, one of each per position they act at."""
        entries = self.view.entries()
        g, o, j = np.nonzero(self.view.of(kept[self.mask].unpack().reshape(-1)))
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

    def forwards(self, values: Values, state: State, algebra: Algebra) -> None:
        """Add to the targets what their sources hold."""
        for vector in state.vectors:
            algebra.join(vector, self.sources, self.targets)

    def backwards(self, values: Values, state: State, reach: Any, algebra: Algebra) -> None:
        """Add to the sources what their targets reach."""
        algebra.join(reach, self.targets, self.sources)

    def pairs(self, kept: Mapping[str, Mask]) -> tuple[np.ndarray, np.ndarray, None]:
        """Sources and targets of every wire."""
        real = self.sources >= 0
        return self.sources[real], self.targets[real], None


@dataclass(frozen=True, eq=False)
class Gate:
    """Products of two activations: a target is the sum over its entries of left times right. Arrays of unit ids."""

    lefts: np.ndarray
    rights: np.ndarray
    targets: np.ndarray

    @property
    def sources(self) -> np.ndarray:
        """Both operands of every product."""
        return np.concatenate([self.lefts, self.rights])

    def forwards(self, values: Values, state: State, algebra: Algebra) -> None:
        """Signal where one operand is signal and the other not zero; not zero where both are not zero."""
        assert state.nonzero is not None, "a graph with gates is swept with both states"
        algebra.gate(state.signal, state.nonzero, state.known, self.lefts, self.rights, self.targets)

    def backwards(self, values: Values, state: State, reach: Any, algebra: Algebra) -> None:
        """An operand reaches what the product reaches while the other operand is not zero."""
        assert state.nonzero is not None, "a graph with gates is swept with both states"
        algebra.gate_back(reach, state.nonzero, self.lefts, self.rights, self.targets)

    def pairs(self, kept: Mapping[str, Mask]) -> tuple[np.ndarray, np.ndarray, None]:
        """Both operands of every product, each with its target."""
        return Wiring(self.sources, np.concatenate([self.targets, self.targets])).pairs(kept)


Block = KernelBlock | Wiring | Gate
Stage = Lift | Scale

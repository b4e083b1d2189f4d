"""The algebra (or, and): a bit per unit, a bit per connection, 64 connections or 64 positions in a machine word."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from graphsparse.errors import ArgumentError
from graphsparse.kernels import found as found_maps
from graphsparse.kernels import line_maps, maps
from graphsparse.kernels import lines as loops
from graphsparse.kernels.layout import Kernel, Lines, Rows
from graphsparse.kernels.masks import CACHE_LINE_WORDS, WORD, Mask, Shape, unpack, word_count
from graphsparse.kernels.threads import over, summed

Uses = Iterable[tuple[Kernel, Mask]]
NOWHERE = np.empty(0, np.uint64)


class UnitBits(NamedTuple):
    """A bit per unit, then that of the constant and that of no unit; ``n`` bits in all."""

    words: np.ndarray
    n: int


class Bits:
    """Liveness: ``or`` joins parallel paths, ``and`` follows one. Values are masks; a gate's operands are followed too."""

    name = "or_and"
    conditions = False
    zero, one = False, True

    def vector(self, n_units: int) -> UnitBits:
        """The zero of every unit."""
        return UnitBits(np.zeros(word_count(n_units + 2), np.uint64), n_units + 2)

    def copy(self, vector: UnitBits) -> UnitBits:
        """The same values, apart."""
        return UnitBits(vector.words.copy(), vector.n)

    def put(self, vector: UnitBits, units: np.ndarray, one: bool) -> None:
        """Make units one or zero."""
        maps.put(vector.words, vector.n, np.ascontiguousarray(units, np.int64), one)

    def units(self, vector: UnitBits) -> np.ndarray:
        """The value of each unit, bool (n_units,)."""
        return unpack(vector.words, (vector.n,))[:-2]

    def of_mask(self, mask: Mask) -> Mask:
        """A mask's connections as values: one where kept."""
        return mask

    def given(self, name: str, values: Mask, shape: Shape) -> Mask:
        """What is given for a parameter. Raises ArgumentError where it is no mask, or its shape is another."""
        if not isinstance(values, Mask) or values.shape != tuple(shape):
            received = getattr(values, "shape", type(values).__name__)
            raise ArgumentError(
                f"values of liveness must be a Mask of shape {tuple(shape)}", place=name, received=received
            )
        return values

    def under(self, values: Mask, mask: Mask) -> Mask:
        """The values of connections, zero where a mask drops them."""
        return values.both(mask)

    def forwards(self, kernel: Kernel, mask: Mask, vector: UnitBits) -> None:
        """Add to the targets what kept connections bring."""
        found = _inputs(kernel, vector)
        if found.size:
            y = _reach(kernel, mask, found, along=not kernel.lines[1])
            maps.write(vector.words, *kernel.outputs, y)

    def backwards(self, kernel: Kernel, mask: Mask, vector: UnitBits) -> None:
        """Add to the sources what their kept connections bring from the targets."""
        found, taps = _outputs(kernel, vector), kernel.taps
        if not found.size:
            return
        x = _reach(kernel, mask, found, along=kernel.lines[1])
        if kernel.many:
            maps.write_back(vector.words, *kernel.inputs, x, taps.table, taps.shifts, taps.valid)
        else:
            maps.write(vector.words, *kernel.inputs, x)

    def connections(self, uses: Uses, shape: Shape, origin: UnitBits, reach: UnitBits) -> Mask:
        """Which entries of a parameter are active in any of its uses."""
        out = np.zeros(word_count(prod(shape)), np.uint64)
        for kernel, mask in uses:
            if kernel.in_place:
                _mark(kernel, mask, origin, reach, out)
                continue
            entries = kernel.view.entries()
            apart = np.zeros(word_count(entries.size), np.uint64)
            _mark(kernel, mask, origin, reach, apart)
            found = entries[unpack(apart, entries.shape)]
            maps.put(out, 0, found[found >= 0], True)
        return Mask(tuple(shape), out)

    def count(self, uses: Uses, shape: Shape, origin: UnitBits, reach: UnitBits) -> int:
        """How many entries of a parameter are active; those of a single use are counted without being made."""
        uses = list(uses)
        if len(uses) == 1 and uses[0][0].in_place and _distinct(uses[0][0].lines[0]):
            return _mark(*uses[0], origin, reach, NOWHERE)
        return self.connections(uses, shape, origin, reach).count()

    def join(self, vector: UnitBits, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add to the targets what their sources hold, wire by wire."""
        maps.join(vector.words, vector.n, sources, targets)

    def gate(self, signal: UnitBits, nonzero: UnitBits, known: bool, lefts, rights, targets) -> None:
        """Signal where one operand is signal and the other not zero; not zero where both are not zero."""
        maps.gate(signal.words, nonzero.words, signal.n, lefts, rights, targets)

    def gate_back(self, reach: UnitBits, nonzero: UnitBits, lefts, rights, targets) -> None:
        """An operand reaches what the product reaches while the other operand is not zero."""
        maps.gate_back(reach.words, nonzero.words, reach.n, lefts, rights, targets)


def _words(kernel: Kernel, mask: Mask) -> np.ndarray:
    """The bits that the kernel's lines lie in."""
    return mask.words if kernel.in_place else Mask.of(kernel.view.of(mask.unpack().reshape(-1))).words


def _read(rows: Rows, vector: UnitBits) -> np.ndarray:
    """The bits of rows of units; an empty array where none is set."""
    found = np.empty((len(rows.ids), word_count(rows.ids.shape[1])), np.uint64)
    return found if maps.read(vector.words, vector.n, *rows, found) else found[:0]


def _inputs(kernel: Kernel, vector: UnitBits) -> np.ndarray:
    """What each column reads: a bit, or at many positions a map (see `found.parts`). Empty where no bit is set."""
    rows, taps = kernel.inputs, kernel.taps
    if not kernel.many:
        return _read(rows, vector)
    read = (taps.table, taps.shifts, taps.valid, taps.size)
    return found_maps.inputs(vector.words, vector.n, *rows, *read, len(kernel.sources))


def _outputs(kernel: Kernel, vector: UnitBits) -> np.ndarray:
    """What each row feeds: bits, maps or nothing, as of `_inputs`."""
    if not kernel.many:
        return _read(kernel.outputs, vector)
    return found_maps.outputs(vector.words, vector.n, *kernel.outputs, len(kernel.targets))


def _distinct(lines: Lines) -> bool:
    """Whether no two lines share an entry; they do where a parameter is expanded, or where its windows overlap."""
    axes = sorted(axis for axis in ((lines.step, lines.count), (lines.group_step, lines.groups)) if axis[1] > 1)
    ends = [lines.length, *(step * count for step, count in axes)]
    return all(step >= end for (step, _), end in zip(axes, ends))


def _work(lines: Lines, found: np.ndarray) -> int:
    """Bytes that a pass over all lines and what is found of one side reads."""
    return max(lines.groups * lines.count * lines.length // 8, found.nbytes)


def _reach(kernel: Kernel, mask: Mask, found: np.ndarray, *, along: bool) -> np.ndarray:
    """What kept connections bring to their other ends, bits or maps; ``along``: what is found lies along the lines."""
    words, laid, lines = _words(kernel, mask), kernel.laid, kernel.lines[0]
    ends = lines.count if along else lines.length
    if kernel.many:
        into, align = np.zeros((lines.groups * ends, kernel.width), np.uint64), 1
        loop, count = (line_maps.collect, len(into)) if along else (line_maps.spread, word_count(ends))
    else:
        into, align = np.zeros((lines.groups, word_count(ends)), np.uint64), CACHE_LINE_WORDS
        loop, count = (loops.meet, into.size) if along else (loops.gather, into.shape[1])
    over(count, _work(lines, found), lambda a, b: loop(words, laid, found, into, a, b), align)
    return into


def _mark(kernel: Kernel, mask: Mask, origin: UnitBits, reach: UnitBits, out: np.ndarray) -> int:
    """How many kept connections lead from a source to a sink; they are set in ``out`` too, unless it is empty."""
    above, below = _outputs(kernel, reach), _inputs(kernel, origin)
    if not (above.size and below.size):
        return 0
    words, laid, (lines, by_column) = _words(kernel, mask), kernel.laid, kernel.lines
    ends, along = (below, above) if by_column else (above, below)
    mark = line_maps.mark if kernel.many else loops.mark
    n, apart = lines.groups * lines.count, 1
    if out.size:
        whole = lines.offset % WORD == 0 and lines.group_step == lines.count * lines.step and lines.step == lines.length
        # the lines after which a word begins, so that two threads do not write to one; all of them where that is never
        apart = WORD // gcd(lines.step, WORD) if whole else max(1, n)
    return summed(n, _work(lines, along), lambda a, b: mark(words, laid, ends, along, out, a, b), apart)

"""The algebra (or, and): a bit per unit, a bit per connection, 64 connections or 64 positions in a machine word."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from graphsparse.kernels import found as found_maps
from graphsparse.kernels import line_maps, maps
from graphsparse.kernels import lines as loops
from graphsparse.kernels.layout import Kernel, Lines, Rows
from graphsparse.kernels.masks import CACHE_LINE_WORDS, WORD, Mask, pack, unpack, word_count
from graphsparse.kernels.threads import over


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

    def under(self, values: Mask, mask: Mask) -> Mask:
        """The values of connections, zero where a mask drops them."""
        return values.both(mask)

    def forwards(self, kernel: Kernel, mask: Mask, vector: UnitBits) -> None:
        """Add to the targets what kept connections bring."""
        by_column = kernel.lines[1]
        if kernel.many:
            found = _inputs(kernel, vector)
            if found is None:
                return
            y = _maps(kernel.outputs, kernel.taps.positions)
            _reach(kernel, mask, found, y, along=not by_column)
            maps.write(vector.words, *kernel.outputs, y)
            return
        x, some = _read(kernel.inputs, vector)
        if some:
            y = _one_position(kernel, mask, x, along=not by_column)
            maps.write(vector.words, *kernel.outputs, y)

    def backwards(self, kernel: Kernel, mask: Mask, vector: UnitBits) -> None:
        """Add to the sources what their kept connections bring from the targets."""
        by_column = kernel.lines[1]
        if not kernel.many:
            y, some = _read(kernel.outputs, vector)
            if some:
                maps.write(vector.words, *kernel.inputs, _one_position(kernel, mask, y, along=by_column))
            return
        found = _outputs(kernel, vector)
        if found is None:
            return
        taps = kernel.taps
        x = np.zeros((len(kernel.inputs.ids) * len(taps.table), taps.valid.shape[1]), np.uint64)
        _reach(kernel, mask, found, x, along=by_column)
        maps.write_back(vector.words, *kernel.inputs, x, taps.table, taps.shifts, taps.valid)

    def connections(
        self, uses: Iterable[tuple[Kernel, Mask]], shape: tuple[int, ...], origin: UnitBits, reach: UnitBits
    ) -> Mask:
        """Which entries of a parameter are active in any of its uses."""
        out = np.zeros(word_count(prod(shape)), np.uint64)
        for kernel, mask in uses:
            if kernel.in_place:
                _mark(kernel, mask, origin, reach, out)
                continue
            apart = np.zeros(word_count(kernel.view.entries().size), np.uint64)
            _mark(kernel, mask, origin, reach, apart)
            entries = kernel.view.entries()
            found = entries[unpack(apart, entries.shape)]
            maps.put(out, 0, found[found >= 0], True)
        return Mask(tuple(shape), out)

    def count(
        self, uses: Iterable[tuple[Kernel, Mask]], shape: tuple[int, ...], origin: UnitBits, reach: UnitBits
    ) -> int:
        """How many entries of a parameter are active; those of a single use are counted without being made."""
        uses = list(uses)
        if len(uses) != 1 or not (uses[0][0].in_place and _distinct(uses[0][0].lines[0])):
            return self.connections(uses, shape, origin, reach).count()
        return sum(_over_active(*uses[0], origin, reach, (loops.count, line_maps.count_maps)))

    def join(self, vector: UnitBits, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add to the targets of wires what their sources hold."""
        maps.join(vector.words, vector.n, sources, targets)

    def join_back(self, vector: UnitBits, sources: np.ndarray, targets: np.ndarray) -> None:
        """Add to the sources of wires what their targets hold."""
        maps.join_back(vector.words, sources, targets)

    def gate(self, signal: UnitBits, nonzero: UnitBits, known: bool, lefts, rights, targets) -> None:
        """Signal where one operand is signal and the other not zero; not zero where both are not zero."""
        maps.gate(signal.words, nonzero.words, signal.n, lefts, rights, targets)

    def gate_back(self, reach: UnitBits, nonzero: UnitBits, lefts, rights, targets) -> None:
        """An operand reaches what the product reaches while the other operand is not zero."""
        maps.gate_back(reach.words, nonzero.words, reach.n, lefts, rights, targets)


def _words(kernel: Kernel, mask: Mask) -> np.ndarray:
    """The bits that the kernel's lines lie in."""
    if kernel.in_place:
        return mask.words
    own = np.ascontiguousarray(kernel.view.of(mask.unpack().reshape(-1)))
    return pack(own.reshape(-1).view(np.uint8), 255)


def _maps(rows: Rows, size: int) -> np.ndarray:
    return np.zeros((len(rows.ids), word_count(size)), np.uint64)


def _read(rows: Rows, vector: UnitBits) -> tuple[np.ndarray, bool]:
    """The bits of rows of units, and whether any is set."""
    found = np.empty((len(rows.ids), word_count(rows.ids.shape[1])), np.uint64)
    return found, maps.read(vector.words, vector.n, *rows, found)


def _inputs(kernel: Kernel, vector: UnitBits) -> np.ndarray | None:
    """The map that each column reads (see `found.parts`); None where none has a bit."""
    rows, taps, groups = kernel.inputs, kernel.taps, len(kernel.sources)
    columns = kernel.sources.shape[1] * len(taps.table)
    found = np.empty(found_maps.parts_size(groups, columns, taps.valid.shape[1]), np.uint64)
    arguments = (taps.table, taps.shifts, taps.valid, taps.size, groups, found)
    return found if found_maps.inputs(vector.words, vector.n, *rows, *arguments) else None


def _outputs(kernel: Kernel, vector: UnitBits) -> np.ndarray | None:
    """The map that each row feeds (see `found.parts`); None where none has a bit."""
    groups, rows, width = *kernel.targets.shape[:2], kernel.taps.valid.shape[1]
    found = np.empty(found_maps.parts_size(groups, rows, width), np.uint64)
    return found if found_maps.outputs(vector.words, vector.n, *kernel.outputs, groups, found) else None


def _n_lines(kernel: Kernel) -> int:
    lines = kernel.lines[0]
    return lines.groups * lines.count


def _distinct(lines: Lines) -> bool:
    """Whether no two lines share an entry; they do where a parameter is expanded, or where its windows overlap."""
    axes = sorted(axis for axis in ((lines.step, lines.count), (lines.group_step, lines.groups)) if axis[1] > 1)
    ends = [lines.length, *(step * count for step, count in axes)]
    return all(step >= end for (step, _), end in zip(axes, ends))


def _work(lines: Lines) -> int:
    """Bytes that a pass over all lines reads."""
    return lines.groups * lines.count * lines.length // 8


def _reach(kernel: Kernel, mask: Mask, found: np.ndarray, into: np.ndarray, *, along: bool) -> None:
    """Add maps to those at the other ends of kept connections; ``along``: the maps that are there lie along the lines."""
    words, laid = _words(kernel, mask), kernel.laid
    work = max(_work(kernel.lines[0]), found.nbytes)
    if along:
        over(_n_lines(kernel), work, lambda a, b: line_maps.collect(words, laid, found, into, a, b))
        return
    count = word_count(kernel.lines[0].length)
    over(count, work, lambda a, b: line_maps.spread(words, laid, found, into, a, b))


def _one_position(kernel: Kernel, mask: Mask, found: np.ndarray, *, along: bool) -> np.ndarray:
    """Bits (groups, words) of the other ends of kept connections; ``along``: those that are there lie along the lines."""
    words, laid, lines = _words(kernel, mask), kernel.laid, kernel.lines[0]
    into = np.zeros((lines.groups, word_count(lines.count if along else lines.length)), np.uint64)
    if along:
        over(into.size, _work(lines), lambda a, b: loops.meet(words, laid, found, into, a, b), CACHE_LINE_WORDS)
    else:
        over(into.shape[1], _work(lines), lambda a, b: loops.gather(words, laid, found, into, a, b), CACHE_LINE_WORDS)
    return into


def _mark(kernel: Kernel, mask: Mask, origin: UnitBits, reach: UnitBits, out: np.ndarray) -> None:
    lines = kernel.lines[0]
    whole = lines.offset % WORD == 0 and lines.group_step == lines.count * lines.step and lines.step == lines.length
    # the lines after which a word begins, so that two threads do not write to one; all of them where that is never
    apart = WORD // gcd(lines.step, WORD) if whole else max(1, _n_lines(kernel))
    _over_active(kernel, mask, origin, reach, (loops.mark, line_maps.mark_maps), (out,), apart)


def _over_active(
    kernel: Kernel,
    mask: Mask,
    origin: UnitBits,
    reach: UnitBits,
    loop: tuple[Callable[..., Any], Callable[..., Any]],
    into: tuple[np.ndarray, ...] = (),
    apart: int = 1,
) -> list[Any]:
    """Run one of two loops, for one position and for many, over the kept connections between ends that are there."""
    words, laid, (lines, by_column) = _words(kernel, mask), kernel.laid, kernel.lines
    if not kernel.many:
        (y, some), (x, others) = _read(kernel.outputs, reach), _read(kernel.inputs, origin)
        if not (some and others):
            return []
        ends, along = (x, y) if by_column else (y, x)
        return over(_n_lines(kernel), _work(lines), lambda a, b: loop[0](words, laid, ends, along, *into, a, b), apart)
    above, below = _outputs(kernel, reach), _inputs(kernel, origin)
    if above is None or below is None:
        return []
    mine, found = (below, above) if by_column else (above, below)
    work, width = max(_work(lines), found.nbytes), kernel.taps.valid.shape[1]
    return over(_n_lines(kernel), work, lambda a, b: loop[1](words, laid, mine, found, width, *into, a, b), apart)

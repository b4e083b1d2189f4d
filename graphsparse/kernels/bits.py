"""The algebra (or, and): a bit per unit, a bit per connection, 64 connections or 64 positions in a machine word."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from graphsparse.kernels import lines as loops
from graphsparse.kernels import maps
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
        lines, by_column = kernel.lines
        if kernel.many:
            x, some = _read_inputs(kernel, vector)
            if not some:
                return
            y = _maps(kernel.outputs, kernel.taps.positions)
            _reach(kernel, mask, x, y, along=not by_column)
            maps.write(vector.words, *kernel.outputs, y)
            return
        x, some = _read(kernel.inputs, vector)
        if some:
            y = _one_position(kernel, mask, x, along=not by_column)
            maps.write(vector.words, *kernel.outputs, y)

    def backwards(self, kernel: Kernel, mask: Mask, vector: UnitBits) -> None:
        """Add to the sources what their kept connections bring from the targets."""
        lines, by_column = kernel.lines
        y, some = _read(kernel.outputs, vector)
        if not some:
            return
        if not kernel.many:
            maps.write(vector.words, *kernel.inputs, _one_position(kernel, mask, y, along=by_column))
            return
        taps = kernel.taps
        x = np.zeros((len(kernel.inputs.ids) * len(taps.table), y.shape[1]), np.uint64)
        _reach(kernel, mask, y, x, along=by_column)
        into = _maps(kernel.inputs, taps.size)
        maps.move_back(x, taps.table, taps.shifts, taps.valid, into)
        maps.write(vector.words, *kernel.inputs, into)

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
        if len(uses) != 1 or not uses[0][0].in_place:
            return self.connections(uses, shape, origin, reach).count()
        (kernel, mask), counts = uses[0], np.zeros(_n_lines(uses[0][0]), np.int64)
        _over_active(kernel, mask, origin, reach, (loops.count, loops.count_maps), counts, 1)
        return int(counts.sum())

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


def _read_inputs(kernel: Kernel, vector: UnitBits) -> tuple[np.ndarray, bool]:
    """The map that each column reads, (groups * columns, words), and whether any has a bit."""
    found, some = _read(kernel.inputs, vector)
    taps = kernel.taps
    moved = np.empty((len(found) * len(taps.table), taps.valid.shape[1]), np.uint64)
    if some:
        maps.move(found, taps.table, taps.shifts, taps.valid, taps.size, moved)
    return moved, some


def _summary(found: np.ndarray, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """All bits that any map of a group has, (groups, words), and a bit for each map that has any."""
    ceiling = np.empty((groups, found.shape[1]), np.uint64)
    there = np.empty((groups, word_count(len(found) // groups)), np.uint64)
    maps.summary(found, ceiling, there)
    return ceiling, there


def _n_lines(kernel: Kernel) -> int:
    lines = kernel.lines[0]
    return lines.groups * lines.count


def _work(lines: Lines) -> int:
    """Bytes that a pass over all lines reads."""
    return lines.groups * lines.count * lines.length // 8


def _reach(kernel: Kernel, mask: Mask, found: np.ndarray, into: np.ndarray, *, along: bool) -> None:
    """Add maps to those at the other ends of kept connections; ``along``: the maps that are there lie along the lines."""
    words, lines = _words(kernel, mask), kernel.lines[0]
    work, (ceiling, there) = max(_work(lines), found.nbytes), _summary(found, lines.groups)
    if along:
        over(_n_lines(kernel), work, lambda a, b: loops.collect(words, lines, found, there, ceiling, into, a, b))
        return
    count = word_count(lines.length)
    over(count, work, lambda a, b: loops.spread(words, lines, found, ceiling, into, a, b))


def _one_position(kernel: Kernel, mask: Mask, found: np.ndarray, *, along: bool) -> np.ndarray:
    """Bits (groups, words) of the other ends of kept connections; ``along``: those that are there lie along the lines."""
    words, lines = _words(kernel, mask), kernel.lines[0]
    if along:
        flat = np.zeros(word_count(_n_lines(kernel)), np.uint64)
        over(_n_lines(kernel), _work(lines), lambda a, b: loops.meet(words, lines, found, flat, a, b), WORD)
        return _by_group(flat, lines.groups, lines.count)
    ends = _flat(found, lines.groups, lines.count)
    into = np.zeros((lines.groups, word_count(lines.length)), np.uint64)
    over(into.shape[1], _work(lines), lambda a, b: loops.gather(words, lines, ends, into, a, b), CACHE_LINE_WORDS)
    return into


def _by_group(flat: np.ndarray, groups: int, size: int) -> np.ndarray:
    """Bits of all groups one after the other as a row for each group."""
    if groups == 1:
        return flat[None]
    bits = unpack(flat, (groups * size,)).reshape(groups, size)
    return np.stack([pack(row.view(np.uint8), 255) for row in bits])


def _flat(rows: np.ndarray, groups: int, size: int) -> np.ndarray:
    """A row of bits for each group as bits one after the other."""
    if groups == 1:
        return rows[0]
    bits = np.stack([unpack(row, (size,)) for row in rows])
    return pack(bits.reshape(-1).view(np.uint8), 255)


def _mark(kernel: Kernel, mask: Mask, origin: UnitBits, reach: UnitBits, out: np.ndarray) -> None:
    lines = kernel.lines[0]
    whole = lines.offset % WORD == 0 and lines.group_step == lines.count * lines.step and lines.step == lines.length
    # the lines after which a word begins, so that two threads do not write to one; all of them where that is never
    apart = WORD // gcd(lines.step, WORD) if whole else max(1, _n_lines(kernel))
    _over_active(kernel, mask, origin, reach, (loops.mark, loops.mark_maps), out, apart)


def _over_active(
    kernel: Kernel,
    mask: Mask,
    origin: UnitBits,
    reach: UnitBits,
    loop: tuple[Callable[..., None], Callable[..., None]],
    into: np.ndarray,
    apart: int,
) -> None:
    """Run one of two loops, for one position and for many, over the kept connections between ends that are there."""
    words, (lines, by_column) = _words(kernel, mask), kernel.lines
    y, some = _read(kernel.outputs, reach)
    if not some:
        return
    x, some = _read_inputs(kernel, origin) if kernel.many else _read(kernel.inputs, origin)
    if not some:
        return
    ends, along = (x, y) if by_column else (y, x)
    if not kernel.many:
        flat = _flat(ends, lines.groups, lines.count)
        over(_n_lines(kernel), _work(lines), lambda a, b: loop[0](words, lines, flat, along, into, a, b), apart)
        return
    (ceiling, there), work = _summary(along, lines.groups), max(_work(lines), along.nbytes)
    over(_n_lines(kernel), work, lambda a, b: loop[1](words, lines, ends, along, there, ceiling, into, a, b), apart)

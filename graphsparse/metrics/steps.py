"""The steps into a unit and out of it: connections, kept or dropped, wires, and operands of products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from graphsparse.blocks import CONSTANT, Block, Gate, KernelBlock, Places, View
from graphsparse.graph import LayeredGraph
from graphsparse.layers import feeding
from graphsparse.metrics.parts import Swept

Connection = tuple[str, int]
"""A parameter and the flat index of an entry."""


class Step(NamedTuple):
    """One step from unit ``source`` to unit ``target``.

    ``parameter`` and ``entry`` (flat index) name the connection, None and -1 for a wire or a product; ``kept`` whether
    it is there. ``other`` is the other operand of a product, None elsewhere. A source of -2 is a constant.
    """

    source: int
    target: int
    parameter: str | None = None
    entry: int = -1
    kept: bool = True
    other: int | None = None


@dataclass(frozen=True, eq=False)
class Steps:
    """Answers which steps lead into and out of the units of a graph; masks are unpacked once."""

    graph: LayeredGraph

    @cached_property
    def _masks(self) -> dict[str, np.ndarray]:
        return {}

    @cached_property
    def _readers(self) -> list[list[Block]]:
        """The blocks that read each layer."""
        readers: list[list[Block]] = [[] for _ in self.graph.layers]
        for layer in self.graph.layers:
            for block in layer.blocks:
                for source in feeding(block, self.graph.owner):
                    readers[source].append(block)
        return readers

    def into(self, unit: int) -> Iterator[Step]:
        """Every step into a unit, from constants too; none into a unit that a masked scale makes zero."""
        if unit in self._cut:
            return
        for block in self.graph.layer_of(unit).blocks:
            if isinstance(block, KernelBlock):
                yield from self._kernel_into(block, unit)
            elif isinstance(block, Gate):
                here = block.targets == unit
                for left, right in zip(block.lefts[here].tolist(), block.rights[here].tolist(), strict=True):
                    yield Step(left, unit, other=right)
                    yield Step(right, unit, other=left)
            else:
                yield from (Step(source, unit) for source in block.sources[block.targets == unit].tolist())

    def out_of(self, unit: int) -> Iterator[Step]:
        """Every step out of a unit; none into units that a masked scale makes zero."""
        for block in self._readers[self.graph.owner[unit]]:
            for step in self._out_of(block, unit):
                if step.target not in self._cut:
                    yield step

    @cached_property
    def _cut(self) -> set[int]:
        return set(self.graph.cut.tolist())

    def _out_of(self, block: Block, unit: int) -> Iterator[Step]:
        if isinstance(block, KernelBlock):
            yield from self._kernel_out_of(block, unit)
        elif isinstance(block, Gate):
            for mine, others in ((block.lefts, block.rights), (block.rights, block.lefts)):
                here = mine == unit
                for other, target in zip(others[here].tolist(), block.targets[here].tolist(), strict=True):
                    yield Step(unit, target, other=other)
        else:
            yield from (Step(unit, target) for target in block.targets[block.sources == unit].tolist())

    def _kernel_into(self, block: KernelBlock, unit: int) -> Iterator[Step]:
        mask, table = self._mask(block.mask), block.taps.table
        for group, row, place in np.argwhere(block.targets == unit).tolist():
            entries = entries_of(block.view, group, row=row)
            channel, tap = np.divmod(np.arange(len(entries)), len(table))
            position = table[tap, place]
            sources = np.where(position < 0, -1, block.sources[group, channel, position])
            for j in np.flatnonzero((sources != -1) & (entries >= 0)).tolist():
                entry = int(entries[j])
                yield Step(int(sources[j]), unit, block.parameter, entry, bool(mask[entry]))

    def _kernel_out_of(self, block: KernelBlock, unit: int) -> Iterator[Step]:
        mask, table = self._mask(block.mask), block.taps.table
        for group, channel, place in np.argwhere(block.sources == unit).tolist():
            for tap, position in np.argwhere(table == place).tolist():
                entries = entries_of(block.view, group, column=channel * len(table) + tap)
                for target, entry in zip(block.targets[group, :, position].tolist(), entries.tolist(), strict=True):
                    if target >= 0 and entry >= 0:
                        yield Step(unit, target, block.parameter, entry, bool(mask[entry]))

    def of_entry(self, parameter: str, entry: int) -> Iterator[Step]:
        """Every place at which one connection acts."""
        for block in self.graph.kernels[parameter]:
            kept, table = bool(self._mask(block.mask)[entry]), block.taps.table
            for group, row, j in np.argwhere(block.view.entries() == entry).tolist():
                channel, tap = divmod(j, len(table))
                for place, position in enumerate(table[tap].tolist()):
                    source = -1 if position < 0 else int(block.sources[group, channel, position])
                    target = int(block.targets[group, row, place])
                    if source >= 0 and target >= 0:
                        yield Step(source, target, parameter, entry, kept)

    def _mask(self, name: str) -> np.ndarray:
        if name not in self._masks:
            self._masks[name] = self.graph.kept[name].unpack().reshape(-1)
        return self._masks[name]


def entries_of(view: View | Places, group: int, *, row: int | None = None, column: int | None = None) -> np.ndarray:
    """The flat indices of one row or of one column of a group, without those of the whole kernel."""
    if isinstance(view, Places):
        return view.index[group, row] if row is not None else view.index[group, :, column]
    axes = np.ogrid[tuple(slice(n) for n in view.shape[2:])]
    along = np.asarray(sum(axis * stride for axis, stride in zip(axes, view.strides[2:], strict=True))).reshape(-1)
    first = view.offset + group * view.strides[0]
    if row is not None:
        return first + row * view.strides[1] + along
    return first + along[column] + np.arange(view.shape[1]) * view.strides[1]


def witness(swept: Swept, steps: Steps, through: Step | int) -> list[Step]:
    """The steps of one path from a source to a sink along kept connections, through a live unit or an active step."""
    first, last = (through, through) if isinstance(through, int) else (through.source, through.target)
    middle = [] if isinstance(through, int) else [through]
    return [*_way(swept, steps, first, back=True)[::-1], *middle, *_way(swept, steps, last, back=False)]


def _way(swept: Swept, steps: Steps, unit: int, back: bool) -> list[Step]:
    """The steps of one way from a unit, back to a source or on to a sink, in the order of going."""
    graph, found = swept.graph, swept.liveness
    alive, ends = (found.signal, graph.sources) if back else (found.reaches, graph.sinks)
    near, next_unit = (steps.into, lambda step: step.source) if back else (steps.out_of, lambda step: step.target)
    way: list[Step] = []
    stop = set(ends.tolist())
    while unit not in stop:
        way.append(next(step for step in near(unit) if _passes(swept, step) and alive[next_unit(step)]))
        unit = next_unit(way[-1])
    return way


def _passes(swept: Swept, step: Step) -> bool:
    """Whether a step from a unit is there: a connection that is kept, an operand whose other one is not zero."""
    if step.source < 0 or not step.kept:
        return False
    return step.other is None or step.other == CONSTANT or step.other >= 0 and bool(swept.liveness.nonzero[step.other])


def revival(swept: Swept, steps: Steps, origin: int, target: int, own: Iterable[Connection] = ()) -> list[Connection]:
    """Dropped connections whose return gives ``origin`` a way from a source and ``target`` one to a sink.

    The cheapest ways that the sweep in (min, +) found, each connection once; ``own`` are taken as they are.
    """
    found = dict.fromkeys(own)
    costs = swept.revival
    _bring(swept, steps, origin, costs.signal, found)
    unit, reach = target, costs.reaches
    while reach[unit] > 0:
        step = min(steps.out_of(unit), key=lambda step: _price(swept, step) + reach[step.target])
        _take(swept, steps, step, found)
        unit = step.target
    return list(found)


def _bring(swept: Swept, steps: Steps, unit: int, costs: np.ndarray, found: dict[Connection, None]) -> None:
    """Adds what a unit lacks to be reached: to be signal, or not to be zero, by the costs that are given."""
    nonzero = swept.graph.gated and costs is swept.revival.nonzero
    while unit >= 0 and costs[unit] > 0:
        into = (step for step in steps.into(unit) if step.source >= 0 or nonzero and step.source == CONSTANT)
        step = min(into, key=lambda step: _price(swept, step) + (costs[step.source] if step.source >= 0 else 0))
        _take(swept, steps, step, found)
        unit = step.source


def _price(swept: Swept, step: Step) -> float:
    """What a step costs by itself: 1 for a dropped connection, what the other operand lacks for a product."""
    if step.other is None:
        return 0.0 if step.kept else 1.0
    if step.other < 0:
        return 0.0 if step.other == CONSTANT else np.inf
    return float(swept.revival.nonzero[step.other])


def _take(swept: Swept, steps: Steps, step: Step, found: dict[Connection, None]) -> None:
    if not step.kept:
        assert step.parameter is not None
        found[step.parameter, step.entry] = None
    if step.other is not None and step.other >= 0:
        _bring(swept, steps, step.other, swept.revival.nonzero, found)

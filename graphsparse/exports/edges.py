"""The edges of a graph as rows, a layer at a time, so that no more than one layer's rows are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from graphsparse.blocks import Block, Gate, KernelBlock
from graphsparse.graph import LayeredGraph
from graphsparse.layers import Layer
from graphsparse.sweep import Reach, sweep

WIRE = -1
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Tell nobody of progress."""


class Rows(NamedTuple):
    """Edges as columns: ``sources`` and ``targets`` are unit ids.

    ``weights`` are the kept weights, 1 for wires and where the values are not known. ``parameters`` are places in
    `Edges.names`, -1 for wires and products. ``active``: whether an edge lies on a source-sink path.
    """

    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    parameters: np.ndarray
    active: np.ndarray

    def chosen(self, use: np.ndarray) -> Rows:
        """Some of the rows: by flags, or by places in the order that is wanted."""
        return Rows(*(column[use] for column in self))

    def listed(self) -> Iterator[tuple[int, int, float, int, bool]]:
        """The rows one by one, in Python's own types."""
        return zip(*(column.tolist() for column in self), strict=True)


NONE = Rows(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), np.empty(0, np.int32), np.empty(0, bool))


def together(parts: Iterable[Rows]) -> Rows:
    """All rows of several parts, one part after the other."""
    return Rows(*map(np.concatenate, zip(NONE, *parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of a graph: connections at each place where they act, wires, and operands of products.

    Parallel connections (the taps of a kernel in channel resolution) are one edge, whose weight is their norm.
    ``progress`` is called with (layers done, layers in all) while they are gone through.
    """

    graph: LayeredGraph
    progress: Progress = silent

    @cached_property
    def liveness(self) -> Reach:
        """What is alive."""
        return sweep(self.graph)

    @cached_property
    def live(self) -> np.ndarray:
        """Whether a unit lies on a source-sink path, (n_units,)."""
        return self.liveness.signal & self.liveness.reaches

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that hold connections."""
        return tuple(self.graph.shapes)

    def __iter__(self) -> Iterator[Rows]:
        """The edges into each layer, by source and then by target."""
        for number, layer in enumerate(self.graph.layers, 1):
            yield self.into(layer)
            self.progress(number, len(self.graph.layers))

    def into(self, layer: Layer) -> Rows:
        """The edges into one layer, by source and then by target, parallel ones joined."""
        return _joined(together(self.of(block) for block in layer.blocks))

    def of(self, block: Block) -> Rows:
        """The edges of one block, without those through units that a masked scale makes zero."""
        sources, targets, entries = block.pairs(self.graph.kept)
        weights, number = np.ones(len(sources)), WIRE
        if isinstance(block, KernelBlock):
            number, known = self.names.index(block.parameter), self.graph.weights.get(block.parameter)
            if known is not None:
                weights = np.asarray(known).reshape(-1)[entries].astype(np.float64)
        active = self.liveness.signal[sources] & self.liveness.reaches[targets]
        if isinstance(block, Gate):
            active &= self._conducts(block)
        rows = Rows(sources, targets, weights, np.full(len(sources), number, np.int32), active)
        cut = self.graph.cut
        return rows.chosen(~np.isin(sources, cut) & ~np.isin(targets, cut)) if len(cut) else rows

    def _conducts(self, block: Gate) -> np.ndarray:
        """Of each operand of a product that is a unit: whether the other one is not zero."""
        nonzero = np.append(self.liveness.nonzero, [True, False])  # -2 and -1 find the constant and no unit
        operands, others = np.concatenate([block.lefts, block.rights]), np.concatenate([block.rights, block.lefts])
        return nonzero[others][operands >= 0]


def _joined(rows: Rows) -> Rows:
    """The rows in order; those between the same two units become one."""
    rows = rows.chosen(np.lexsort((rows.targets, rows.sources)))
    first = np.ones(len(rows.sources), bool)
    first[1:] = (np.diff(rows.sources) != 0) | (np.diff(rows.targets) != 0)
    if first.all():
        return rows
    starts = np.flatnonzero(first)
    norms = np.sqrt(np.add.reduceat(np.square(rows.weights), starts))
    alone = np.diff(np.append(starts, len(first))) == 1
    single = rows.chosen(starts)
    active = np.logical_or.reduceat(rows.active, starts)
    return single._replace(weights=np.where(alone, single.weights, norms), active=active)

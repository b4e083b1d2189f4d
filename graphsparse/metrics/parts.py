"""The two parts of a graph that every metric is found for: what is kept, and what of it is active."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from graphsparse import adjacency
from graphsparse.blocks import Block, Gate, KernelBlock, Places, Wiring
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.listed import Entries, Listed
from graphsparse.kernels.masks import Mask
from graphsparse.layers import Layer
from graphsparse.metrics import edge_loops as loops
from graphsparse.passes import paths
from graphsparse.sweep import Reach, sweep

PARTS = ("kept", "active")
T = TypeVar("T")


class Once:
    """Something that keeps the answers of the functions that are asked of it."""

    @cached_property
    def _answers(self) -> dict[tuple[Callable[..., Any], tuple[Hashable, ...]], Any]:
        return {}

    def once(self, find: Callable[..., T], *given: Hashable) -> T:
        """What ``find(self, *given)`` returns; it is called the first time only."""
        asked = (find, given)
        if asked not in self._answers:
            self._answers[asked] = find(self, *given)
        return self._answers[asked]


@dataclass(frozen=True, eq=False)
class Swept(Once):
    """A graph and what sweeps found of it; each sweep is made when it is first asked for.

    ``encoding`` is that of the bipartite graphs of its parameters (see `graphsparse.biadjacency`).
    """

    graph: LayeredGraph
    encoding: str = "channel"

    @cached_property
    def liveness(self) -> Reach:
        """The sweep in (or, and), with the states of units."""
        return sweep(self.graph, self.graph.kept, states=True)

    @cached_property
    def live(self) -> np.ndarray:
        """Whether a unit lies on a path from a source to a sink, (n_units,)."""
        return self.liveness.signal & self.liveness.reaches

    @cached_property
    def masks(self) -> dict[str, dict[str, Mask]]:
        """The masks of both parts."""
        kept = {name: self.graph.kept[name] for name in self.graph.shapes}
        return {"kept": kept, "active": self.liveness.connections()}

    @cached_property
    def entries(self) -> dict[str, Entries]:
        """What each mask of a parameter that holds connections keeps, as lists."""
        return {name: Entries(self.graph.kept[name]) for name in (*self.graph.shapes, *self.graph.uses)}

    def listed(self, value: Any) -> dict[str, Listed]:
        """One value for every kept connection, as lists."""
        each = self.entries.items()
        return {name: Listed(entries, np.full(len(entries.flat), value)) for name, entries in each}

    @cached_property
    def revival(self) -> Reach:
        """How many dropped connections must come back."""
        return paths.revival_costs(self.graph)

    @cached_property
    def edges(self) -> dict[str, sparse.csr_array]:
        """The edges of both parts, bool csr (n_units, n_units).

        An operand of a product has an active edge only where the other operand is not zero.
        """
        if self.graph.gated:
            return {"kept": self.kept, "active": between(self.conducting, self.liveness.signal, self.liveness.reaches)}
        counts = self.counts[2]
        return {"kept": self.kept, "active": between(self.kept, self.liveness.signal, self.liveness.reaches, counts)}

    @cached_property
    def kept(self) -> sparse.csr_array:
        """The edges of the graph as it is."""
        return self.graph.adjacency()

    @cached_property
    def in_degrees(self) -> dict[str, np.ndarray]:
        """How many edges of both parts enter each unit."""
        moved, others, _ = self.counts
        gated, reaches = self.graph.gated, self.liveness.reaches
        return {"kept": moved + others, "active": entering(self.edges["active"]) if gated else moved * reaches}

    @cached_property
    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How many kept edges enter each unit from units that an input moves, and from others; and how many leave each unit
        that an input moves for one that reaches a sink."""
        edges, found, every = self.kept, self.liveness, np.zeros((3, self.graph.n_units), np.int32)
        loops.count_both(edges.indptr, edges.indices, found.signal, found.reaches, *every)
        return every[0], every[1], every[2]

    @cached_property
    def conducting(self) -> sparse.csr_array:
        """The kept edges, those of a product only where the other operand is not zero."""
        return adjacency.build(self.conducting_layers, self.graph.kept, self.graph.cut)

    @cached_property
    def conducting_layers(self) -> tuple[Layer, ...]:
        """The layers with wires in the place of the products' operands that can pass."""
        nonzero = np.append(self.liveness.nonzero, [True, False])
        return tuple(
            replace(layer, blocks=tuple(conducting(block, nonzero) for block in layer.blocks))
            for layer in self.graph.layers
        )


def conducting(block: Block, nonzero: np.ndarray) -> Block:
    """The block; for products, wires in the place of the operands that can pass."""
    if not isinstance(block, Gate):
        return block
    sources, others = np.concatenate([block.lefts, block.rights]), np.concatenate([block.rights, block.lefts])
    targets = np.concatenate([block.targets, block.targets])
    use = (sources >= 0) & nonzero[others]  # -2 and -1 find the constant and no unit from the end
    return Wiring(sources[use], targets[use])


def entering(matrix: sparse.csr_array) -> np.ndarray:
    """How many entries each column has, without a copy of the indices."""
    counts = np.zeros(matrix.shape[1], np.int32)
    loops.count_into(matrix.indices, counts)
    return counts


def between(
    matrix: sparse.csr_array, origin: np.ndarray, target: np.ndarray, counts: np.ndarray | None = None
) -> sparse.csr_array:
    """The entries of a csr of bool from a row in ``origin`` to a column in ``target``; the csr itself if these are all.

    ``counts`` (rows,) are the numbers of these, where they are known.
    """
    starts = np.zeros(matrix.shape[0] + 1, matrix.indptr.dtype)
    if counts is None:
        loops.count_between(matrix.indptr, matrix.indices, origin, target, starts[1:])
    else:
        starts[1:] = counts
    np.cumsum(starts, out=starts)
    if starts[-1] == matrix.nnz:
        return matrix
    indices = np.empty(starts[-1] + 1, matrix.indices.dtype)
    loops.fill_between(matrix.indptr, matrix.indices, origin, target, indices)
    indices = indices[:-1]
    return sparse.csr_array((matrix.data[: len(indices)], indices, starts), matrix.shape)  # all entries are True


@dataclass(frozen=True, eq=False)
class Part(Once):
    """One part of a swept graph: ``kept``, the graph as it is, or ``active``, what lies on source-sink paths."""

    swept: Swept
    name: str

    @property
    def graph(self) -> LayeredGraph:
        """The graph itself."""
        return self.swept.graph

    @property
    def edges(self) -> sparse.csr_array:
        """The part's edges, bool csr (n_units, n_units)."""
        return self.swept.edges[self.name]

    @property
    def masks(self) -> dict[str, Mask]:
        """The part's connections by parameter."""
        return self.swept.masks[self.name]

    @cached_property
    def units(self) -> np.ndarray:
        """The part's units, bool (n_units,): all, or the live ones."""
        return np.ones(self.graph.n_units, bool) if self.name == "kept" else self.swept.live

    @cached_property
    def out_degrees(self) -> np.ndarray:
        """How many edges leave each unit."""
        return np.diff(self.edges.indptr)

    @property
    def in_degrees(self) -> np.ndarray:
        """How many edges enter each unit."""
        return self.swept.in_degrees[self.name]

    def degrees(self, direction: str) -> np.ndarray:
        """How many edges enter ("in") or leave ("out") each unit."""
        return self.in_degrees if direction == "in" else self.out_degrees

    def inner(self, direction: str) -> np.ndarray:
        """The part's units that may have such edges: for "in" without the sources, for "out" without the sinks."""
        found = self.units.copy()
        found[self.graph.sources if direction == "in" else self.graph.sinks] = False
        return found

    @cached_property
    def joined(self) -> np.ndarray:
        """Which units have a connection of the part, at either end."""
        if self.name == "kept":
            return touched(self.graph, self.graph.kept)
        found = self.swept.liveness
        return touched(self.graph, self.graph.kept, found.signal, found.reaches)


def kernels_of(graph: LayeredGraph, name: str, flat: np.ndarray) -> Iterator[np.ndarray]:
    """A parameter's kernels, each once, of a flat array of its entries: (groups, outputs, inputs, taps)."""
    for block in {block.view: block for block in graph.kernels[name]}.values():
        groups, outputs = block.targets.shape[:2]
        yield block.view.of(flat).reshape(groups, outputs, block.sources.shape[1], len(block.taps.table))


def touched(
    graph: LayeredGraph, kept: Mapping[str, Mask], signal: np.ndarray | None = None, reaches: np.ndarray | None = None
) -> np.ndarray:
    """Which units have a kept connection at either end, from a unit with ``signal`` to one that ``reaches``."""
    every, found = np.ones(graph.n_units, bool), np.zeros(graph.n_units, bool)
    for block in (block for blocks in graph.kernels.values() for block in blocks):
        kernel = np.ascontiguousarray(block.view.of(kept[block.mask].unpack().reshape(-1)))
        if signal is None and reaches is None and (block.sources.min(initial=0) >= 0):
            loops.touch_all(kernel, block.sources, block.taps.table, block.targets, found)
        else:
            origin, target = (every if signal is None else signal), (every if reaches is None else reaches)
            loops.touch(kernel, block.sources, block.taps.table, block.targets, origin, target, found)
    return found


def prunable_units(graph: LayeredGraph) -> np.ndarray:
    """Which units are at an end of a connection, kept or dropped, bool (n_units,)."""
    found = np.zeros(graph.n_units, bool)
    for block in (block for blocks in graph.kernels.values() for block in blocks):
        for units in ends_of(block):
            found[units] = True
    return found


def ends_of(block: KernelBlock) -> tuple[np.ndarray, np.ndarray]:
    """The units at the two ends of a kernel's connections, kept or dropped; a unit may be there several times."""
    if isinstance(block.view, Places):  # some of its entries may not be there
        whole = Mask.whole((int(block.view.index.max(initial=-1)) + 1,))
        sources, targets, _ = block.pairs({block.mask: whole})
        return sources, targets
    table = block.taps.table
    real = np.asarray((block.sources >= 0).any(1))  # (groups, size)
    seen = (real[:, table] & (table >= 0)).any(1)  # (groups, positions)
    sources = block.sources[:, :, np.unique(table[table >= 0])]
    return sources[sources >= 0], block.targets.transpose(0, 2, 1)[seen]

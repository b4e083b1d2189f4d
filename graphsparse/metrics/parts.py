"""The two parts of a graph that every metric is found for: what is kept, and what of it is active."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from graphsparse import adjacency
from graphsparse.blocks import Block, Gate, Wiring
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.listed import Entries, Listed
from graphsparse.kernels.masks import Mask
from graphsparse.layers import Layer
from graphsparse.metrics.edges import between, entering
from graphsparse.metrics.ends import touched
from graphsparse.passes.revival import REVIVAL
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
    """A graph and what sweeps find of it; each sweep is made when it is first asked for.

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
        """The sweep that counts how many dropped connections must come back."""
        return sweep(self.graph, self.listed(0.0), REVIVAL)

    @cached_property
    def edges(self) -> dict[str, sparse.csr_array]:
        """The edges of both parts, bool csr (n_units, n_units).

        An operand of a product has an active edge only where the other operand is not zero.
        """
        gated, found = self.graph.gated, self.liveness
        edges, count = (self.conducting, None) if gated else (self.kept, int(self.moved[found.reaches].sum()))
        return {"kept": self.kept, "active": between(edges, found.signal, found.reaches, count)}

    @cached_property
    def kept(self) -> sparse.csr_array:
        """The edges of the graph as it is."""
        return self.graph.adjacency()

    @cached_property
    def in_degrees(self) -> dict[str, np.ndarray]:
        """How many edges of both parts enter each unit."""
        gated, found = self.graph.gated, self.liveness
        others = entering(self.kept, np.flatnonzero(~found.signal))
        active = entering(self.edges["active"]) if gated else self.moved * found.reaches
        return {"kept": self.moved + others, "active": active}

    @cached_property
    def moved(self) -> np.ndarray:
        """How many kept edges enter each unit from units that an input moves."""
        return entering(self.kept, np.flatnonzero(self.liveness.signal))

    @cached_property
    def conducting(self) -> sparse.csr_array:
        """The kept edges; those of a product only where its other operand is not zero."""
        return adjacency.build(self.conducting_layers, self.graph.kept, self.graph.cut)

    @cached_property
    def conducting_layers(self) -> tuple[Layer, ...]:
        """The layers with wires in the place of products: from the operands that can pass."""
        nonzero, layers = np.append(self.liveness.nonzero, [True, False]), self.graph.layers
        return tuple(
            replace(each, blocks=tuple(conducting(block, nonzero) for block in each.blocks)) for each in layers
        )


def conducting(block: Block, nonzero: np.ndarray) -> Block:
    """The block itself; for products, wires from the operands that can pass: those whose other operand is not zero."""
    if not isinstance(block, Gate):
        return block
    sources, others = block.sources, np.concatenate([block.rights, block.lefts])
    use = (sources >= 0) & nonzero[others]  # -2 and -1 find the constant and no unit from the end
    return Wiring(sources[use], np.concatenate([block.targets, block.targets])[use])


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
        return touched(self.graph, self.graph.kept, None if self.name == "kept" else self.swept.liveness)

"""One sweep over a graph in any algebra: from the sources forwards, from the sinks backwards.

In the algebra (or, and) this is liveness: a connection is active when it is kept, an input moves its origin, and its
target reaches a sink (`docs/semantics.md`, What is alive).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from graphsparse.algebras import OR_AND, Algebra
from graphsparse.blocks import CONSTANT, KernelBlock, Scale, State, Values
from graphsparse.errors import ArgumentError
from graphsparse.graph import LayeredGraph


@dataclass(frozen=True, eq=False)
class Reach:
    """What a sweep found. ``state``: what reaches each unit from the sources; ``reach``: what each reaches of the sinks."""

    graph: LayeredGraph
    values: Values
    algebra: Algebra
    state: State
    reach: Any

    @cached_property
    def signal(self) -> np.ndarray:
        """What reaches each unit from the sources, (n_units,); in (or, and) whether an input moves it."""
        return self.algebra.units(self.state.signal)

    @cached_property
    def nonzero(self) -> np.ndarray:
        """How each unit is not zero, (n_units,), if the sweep followed ``states``."""
        return self.algebra.units(self.state.nonzero)

    @cached_property
    def reaches(self) -> np.ndarray:
        """What each unit reaches of the sinks, (n_units,)."""
        return self.algebra.units(self.reach)

    @property
    def constant(self) -> Any:
        """The constant units, not zero and moved by no input, in the algebra's own form. Needs a sweep with ``states``."""
        constant = self.algebra.vector(self.graph.n_units)
        units = np.flatnonzero(self.nonzero.astype(bool) & ~self.signal.astype(bool))
        self.algebra.put(constant, np.append(units, CONSTANT), True)
        return constant

    def connections(self, origin: Any = None) -> dict[str, Any]:
        """What each connection carries from a source to a sink, by parameter; the sum over a parameter's uses.

        ``origin`` takes the place of the signal: other values of units in the algebra's own form.
        """
        origin = self.state.signal if origin is None else origin
        shapes, uses = self.graph.shapes, self.uses()
        return {name: self.algebra.connections(uses[name], shapes[name], origin, self.reach) for name in shapes}

    def count(self) -> dict[str, int]:
        """How many connections of each parameter carry anything."""
        shapes, uses = self.graph.shapes, self.uses()
        return {name: self.algebra.count(uses[name], shapes[name], self.state.signal, self.reach) for name in shapes}

    def uses(self) -> dict[str, list[tuple[KernelBlock, Any]]]:
        """The kernels that each parameter is read as, each with the values that hold there."""
        return {
            name: [(block, self.values[block.mask]) for block in blocks] for name, blocks in self.graph.kernels.items()
        }


def sweep(
    graph: LayeredGraph, values: Values | None = None, algebra: Algebra = OR_AND, *, states: bool | None = None
) -> Reach:
    """Sweep a graph forwards and backwards.

    ``values`` say what each connection carries, by parameter in its shape (see `graphsparse.algebras`). They are taken in the
    algebra's type, also where a mask drops a connection; without them, a kept connection carries the algebra's one. Biases and
    scales are there or not by the graph's masks, in every algebra. ``states=True`` also finds where units are not zero,
    which constants need; by default only graphs with products do.
    """
    if values is None:
        values = {name: algebra.of_mask(graph.kept[name]) for name in graph.shapes}
    if missing := [name for name in graph.shapes if name not in values]:
        raise ArgumentError(
            "values must hold every parameter of the graph", received=f"none for {', '.join(missing[:4])}"
        )
    given = {name: algebra.given(name, values[name], shape) for name, shape in graph.shapes.items()}
    values = _by_use(graph, {**values, **given}, algebra)
    state = forwards(graph, values, algebra, states=graph.gated if states is None else states)
    return Reach(graph, values, algebra, state, backwards(graph, values, state, algebra))


def _by_use(graph: LayeredGraph, values: Values, algebra: Algebra) -> Values:
    """The values, and for every use with a mask of its own those of its parameter, zero where that mask drops them."""
    missing = {key: use for key, use in graph.uses.items() if key not in values and use.parameter in values}
    return {**values, **{key: algebra.under(values[use.parameter], use.mask) for key, use in missing.items()}}


def forwards(graph: LayeredGraph, values: Values, algebra: Algebra, *, states: bool) -> State:
    """What reaches each unit from the sources."""
    signal = algebra.vector(graph.n_units)
    algebra.put(signal, graph.sources, True)
    state = State(signal, _nonzero(graph, signal, algebra) if states else None, algebra.conditions)
    for layer in graph.layers:
        for block in layer.blocks:
            block.forwards(values, state, algebra)
        for stage in layer.stages:
            stage.forwards(graph.kept, state, algebra)
    return state


def _nonzero(graph: LayeredGraph, signal: Any, algebra: Algebra) -> Any:
    """How units are not zero when the sweep begins. If it only matters whether they are, as liveness finds it."""
    if not algebra.conditions:
        nonzero = algebra.copy(signal)
        algebra.put(nonzero, np.asarray([CONSTANT]), True)
        return nonzero
    alive = forwards(graph, graph.kept, OR_AND, states=True)
    nonzero = algebra.vector(graph.n_units)
    algebra.put(nonzero, np.append(np.flatnonzero(OR_AND.units(alive.nonzero)), CONSTANT), True)
    return nonzero


def backwards(graph: LayeredGraph, values: Values, state: State, algebra: Algebra) -> Any:
    """What each unit reaches of the sinks."""
    reach = algebra.vector(graph.n_units)
    algebra.put(reach, graph.sinks, True)
    for layer in reversed(graph.layers):
        for stage in layer.stages:
            if isinstance(stage, Scale):
                stage.backwards(graph.kept, reach, algebra)
        for block in reversed(layer.blocks):
            block.backwards(values, state, reach, algebra)
    return reach

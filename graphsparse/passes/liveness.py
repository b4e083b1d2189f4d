"""Which connections are active and which units starved or stranded: DESIGN 2, the sweep in the boolean algebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.passes import reach


@dataclass(frozen=True, eq=False)
class Liveness:
    """What is alive: bool arrays by unit id (n_units,) and active connections by parameter in its shape.

    ``signal``: an input moves the unit. ``nonzero``: the unit is not always zero (a superset of signal).
    ``reaches``: a change of the unit reaches a sink. ``active``: DESIGN 1's effective masks.
    """

    signal: np.ndarray
    nonzero: np.ndarray
    reaches: np.ndarray
    active: dict[str, np.ndarray]

    @property
    def starved(self) -> np.ndarray:
        """Units that no source reaches."""
        return ~self.signal

    @property
    def stranded(self) -> np.ndarray:
        """Units that reach no sink."""
        return ~self.reaches


def liveness(graph: LayeredGraph) -> Liveness:
    """Sweep the graph under its masks once each way, with the states of every unit."""
    state = reach.forwards(graph, graph.values, states=True)
    assert state.nonzero is not None
    reaches = reach.backwards(graph, graph.values, state)
    active = reach.connections(graph, graph.values, state.signal, reaches)
    units = slice(graph.n_units)
    return Liveness(
        state.signal[units].astype(bool),
        state.nonzero[units].astype(bool),
        reaches[units].astype(bool),
        {name: array.view(bool) for name, array in active.items()},
    )


def active_connections(graph: LayeredGraph) -> dict[str, np.ndarray]:
    """The active connections of every parameter, bool in the parameter's shape; constants are followed only if they matter."""
    state = reach.forwards(graph, graph.values)
    reaches = reach.backwards(graph, graph.values, state)
    active = reach.connections(graph, graph.values, state.signal, reaches)
    return {name: array.view(bool) for name, array in active.items()}

"""The cones of a unit, which are the units that lead to it and those that it leads to; where they end, and by whose masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphsparse.algebras import OR_AND, Algebra
from graphsparse.blocks import CONSTANT, Gate, State
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.parts import Swept
from graphsparse.sweep import backwards


@dataclass(frozen=True)
class Side:
    """What a unit lacks on one ``side``: "sources" or "sinks".

    ``layer`` is the first one on the way to that side that the unit's cone would reach if nothing were dropped, and does not
    reach; ``parameters`` hold the dropped connections. Of a layer with sources (or sinks) only these are looked at. Where
    only a product leads on, ``zero_operand`` names its other operand, and ``parameters`` cut that one from the sources.
    None and () where the network has no such way, or a masked scale ends it.
    """

    side: str
    layer: str | None
    parameters: tuple[str, ...] = ()
    zero_operand: str | None = None

    def __str__(self) -> str:
        if self.layer is None:
            return f"no way to the {self.side}, whatever is kept"
        who = f"the masks of {', '.join(self.parameters)}" if self.parameters else "no mask of connections"
        zero = f", the other operand {self.zero_operand} of a product is zero" if self.zero_operand else ""
        return f"no way to the {self.side}: nothing of {self.layer} is reached{zero}, cut by {who}"


def dense(graph: LayeredGraph) -> LayeredGraph:
    """The same network with every connection kept; biases and scales stay as they are."""
    masks = {name: mask for name, mask in graph.masks.items() if name not in graph.shapes}
    uses = {key: replace(use, mask=Mask.whole(use.mask.shape)) for key, use in graph.uses.items()}
    return replace(graph, masks=masks, uses=uses)


def cone(swept: Swept, units: np.ndarray, side: str) -> np.ndarray:
    """Which units lead to (``sources``) or are led to by (``sinks``) some of these, bool (n_units,), these included."""
    graph = swept.graph
    state = State(ones_at(graph, units, OR_AND), nonzero_of(swept, OR_AND), known=True)
    if side == "sources":
        return OR_AND.units(backwards(replace(graph, sinks=units), graph.kept, state, OR_AND))
    for layer in graph.layers:
        for block in layer.blocks:
            block.forwards(graph.kept, state, OR_AND)
        for stage in layer.stages:
            stage.forwards(graph.kept, state, OR_AND)
    return OR_AND.units(state.signal)


def ones_at(graph: LayeredGraph, units: np.ndarray, algebra: Algebra) -> Any:
    """A value of each unit in the algebra's own form: one at these, zero elsewhere."""
    vector = algebra.vector(graph.n_units)
    algebra.put(vector, units, True)
    return vector


def nonzero_of(swept: Swept, algebra: Algebra) -> Any:
    """Which units are not zero, and the constant, in the algebra's own form."""
    return ones_at(swept.graph, np.append(np.flatnonzero(swept.liveness.nonzero), CONSTANT), algebra)


def missing_side(swept: Swept, whole: Swept, unit: int, side: str) -> Side:
    """Where the cone of a unit ends; ``whole`` is the network with every connection kept."""
    graph, start = swept.graph, np.asarray([unit])
    here, there = cone(swept, start, side), cone(whole, start, side)
    ends = np.zeros(graph.n_units, bool)
    ends[graph.sources if side == "sources" else graph.sinks] = True
    with_ends = np.isin(graph.owner, graph.owner[ends])
    counted = ~with_ends | ends
    n = len(graph.layers)
    reached = np.bincount(graph.owner[here & counted], minlength=n) > 0
    possible = np.bincount(graph.owner[there & counted], minlength=n) > 0
    order = range(graph.owner[unit], -1, -1) if side == "sources" else range(graph.owner[unit], n)
    empty = [layer for layer in order if possible[layer] and not reached[layer]]
    if not empty:
        return Side(side, None)
    for layer in empty:
        beyond = np.flatnonzero((graph.owner == layer) & there & counted)
        lost = there & ~here & cone(whole, beyond, "sinks" if side == "sources" else "sources")
        parameters = _cutting(graph, lost, here, side)
        if parameters:
            return Side(side, graph.layers[layer].name, parameters)
    return _stopped(swept, whole, here, Side(side, graph.layers[empty[0]].name))


def _stopped(swept: Swept, whole: Swept, here: np.ndarray, found: Side) -> Side:
    """The side with the zero operand of a product at which a cone that leads to the sinks ends, if one does."""
    graph = swept.graph
    for gate in (block for layer in graph.layers for block in layer.blocks if isinstance(block, Gate)):
        for mine, others in ((gate.lefts, gate.rights), (gate.rights, gate.lefts)):
            zero = others[(mine >= 0) & here[mine] & (others >= 0) & ~swept.liveness.nonzero[others]]
            if len(zero) and found.side == "sinks":
                layer = graph.layer_of(zero[0])
                behind, operand = missing_side(swept, whole, int(zero[0]), "sources"), zero[0] - layer.start
                return replace(found, parameters=behind.parameters, zero_operand=f"{layer.name}[{operand}]")
    return found


def _cutting(graph: LayeredGraph, lost: np.ndarray, here: np.ndarray, side: str) -> tuple[str, ...]:
    """The parameters with a dropped connection between the units that are lost and the cone."""
    origin, reach = (lost, here) if side == "sources" else (here, lost)
    vectors = [ones_at(graph, np.flatnonzero(flags), OR_AND) for flags in (origin, reach)]
    found = []
    for name, blocks in graph.kernels.items():
        uses = [(block, Mask.whole(graph.shapes[name]).without(graph.kept[block.mask])) for block in blocks]
        if OR_AND.count(uses, graph.shapes[name], *vectors):
            found.append(name)
    return tuple(found)

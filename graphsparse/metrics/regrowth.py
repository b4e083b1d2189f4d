"""Metrics of regrowth: which dropped connections would be active if they came back, and how far from life the dead are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric, rows_of_parameters


def regrowable(graph: LayeredGraph) -> dict[str, np.ndarray]:
    """The dropped connections that would be active at once if each came back alone, bool in the parameters' shapes.

    What a dynamic sparse trainer may grow. A connection that must act in two places at once to be alive (a shared kernel
    whose one use feeds the other, both operands of a product) is not among them: the masks are a lower bound there.

    Example:
        >>> import torch, graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> graph = gs.export(layers, torch.zeros(1, 2), masks)
        >>> regrowable(graph)["1.weight"].tolist()
        [[False, True]]
    """
    return {name: mask.unpack() for name, mask in _regrowable(Swept(checked_graph(graph))).items()}


def _regrowable(swept: Swept) -> dict[str, Mask]:
    """Dropped connections from a unit that an input moves to one that reaches a sink; uses with own masks count too."""
    graph, found, algebra = swept.graph, swept.liveness, swept.liveness.algebra
    result = {}
    for name, blocks in graph.kernels.items():
        whole = Mask.whole(graph.shapes[name])
        uses = [(block, whole.without(graph.kept[block.mask])) for block in blocks]
        here = algebra.connections(uses, graph.shapes[name], found.state.signal, found.reach)
        result[name] = here.without(graph.kept[name])
    return result


def distances_to_life(graph: LayeredGraph) -> dict[str, np.ndarray]:
    """How many dropped connections must come back for each connection to be active, itself included where it is dropped.

    Floats in the parameters' shapes: 0 where it is active, infinite where no connections would do. Exact, but an upper
    bound where products or shared parameters count one connection twice (`graphsparse.passes.paths.revival_costs`).
    """
    return Swept(checked_graph(graph)).revival.connections()


def _without(part: Part, state: str) -> dict[str, int]:
    return {name: mask.size - mask.count() for name, mask in part.swept.masks[state].items()}


LOST = rows_of_parameters("regrowth", "connections", (
    ("dropped", "connections", lambda part: _without(part, "kept"),
     "Connections that the masks drop, the same for both parts. Cost: none."),
    ("active_if_alone", "dropped",
     lambda part: {name: mask.count() for name, mask in part.swept.once(_regrowable).items()},
     "Dropped connections that would be active at once if they came back alone (see `regrowable`). The same for both parts: "
     "dead connections neither help nor hinder. Cost: the sweep in (or, and)."),
    ("dead", "connections", lambda part: _without(part, "active"),
     "Connections that are not active, kept or dropped; the same for both parts. Cost: the sweep in (or, and)."),
))  # fmt: skip


@metric("regrowth", "connections")
def mean_distance_to_life(part: Part) -> Found:
    """Mean over dead connections of `distances_to_life`, those left out that nothing revives; the same for both parts.

    Cost: one sweep in (min, +), 8 bytes per connection of the largest parameter.
    """
    return _summed(part, lambda each: each.sum / each.revived)


@metric("regrowth", "connections")
def greatest_distance_to_life(part: Part) -> Found:
    """The greatest finite one of `distances_to_life`; the same for both parts. Cost: as `mean_distance_to_life`."""
    return _summed(part, lambda each: each.greatest)


@metric("regrowth", "connections", of="connections")
def beyond_revival(part: Part) -> Found:
    """Connections that no return of others makes active: behind a masked scale, say. Cost: as `mean_distance_to_life`."""
    return Found.of_parameters({name: each.beyond for name, each in part.swept.once(_distances).items()})


class Distances(NamedTuple):
    """How many dead connections can be revived, the sum of their distances and the greatest; how many are ``beyond`` it."""

    revived: float
    sum: float
    greatest: float
    beyond: float


def _distances(swept: Swept) -> dict[str, Distances]:
    """The distances of each parameter's dead connections, one parameter's in memory at a time."""
    found, shapes = swept.revival, swept.graph.shapes
    of = lambda name, uses: found.algebra.connections(uses, shapes[name], found.state.signal, found.reach)
    return {name: Distances(*_sums(of(name, uses).reshape(-1))) for name, uses in found.uses().items()}


@compiled
def _sums(costs: Any) -> Any:
    count, total, greatest, beyond = 0.0, 0.0, 0.0, 0.0
    for cost in costs:
        if cost == np.inf:
            beyond += 1
        elif cost > 0:
            count += 1
            total += cost
            greatest = max(greatest, cost)
    return count, total, greatest, beyond


def _summed(part: Part, summary: Callable[[Distances], float]) -> Found:
    of = lambda each: float(summary(each)) if each.revived else np.nan
    found = part.swept.once(_distances)
    revived, total, greatest, beyond = np.asarray([*found.values(), Distances(0, 0, 0, 0)]).T
    every = Distances(revived.sum(), total.sum(), greatest.max(), beyond.sum())
    values = {name: of(each) for name, each in found.items()}
    return Found(of(every), None, values, "no dead connection can be revived")

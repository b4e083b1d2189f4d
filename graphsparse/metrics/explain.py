"""Why a connection, a unit or a parameter is alive or dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from operator import index as whole_number
from typing import Any

import numpy as np

from graphsparse.errors import ArgumentError, MaskError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.names import connected_parameter, suggestion
from graphsparse.metrics.cones import Side, dense, missing_side
from graphsparse.metrics.parts import Swept
from graphsparse.metrics.steps import Step, Steps
from graphsparse.metrics.ways import revival, witness

Index = tuple[int, ...]


@dataclass(frozen=True)
class PathStep:
    """A step of a path: from unit number ``source_unit`` of a layer to one of another, by an entry of a parameter.

    ``parameter`` and ``index`` are None for wires and products. Units are numbered within their layer.
    """

    source: str
    source_unit: int
    target: str
    target_unit: int
    parameter: str | None = None
    index: Index | None = None

    def __str__(self) -> str:
        by = f" by {self.parameter}[{', '.join(map(str, self.index or ()))}]" if self.parameter else ""
        return f"{self.source}[{self.source_unit}] -> {self.target}[{self.target_unit}]{by}"


@dataclass(frozen=True)
class Explanation:
    """Why something is alive or dead.

    ``path`` is one path from a source to a sink through what is alive, step by step. What is dead has ``dropped`` (its
    own mask drops it) and ``sides`` (what it lacks towards sources and sinks, at the place where least is lacking).
    ``revival`` are dropped connections, by parameter their indices, whose return would make it alive, itself included
    where it is dropped; no fewer would do if ``fewest``, and ``distance`` counts them. ``numbers`` are counts of a
    parameter's connections.
    """

    what: str
    alive: bool
    path: tuple[PathStep, ...] = field(default=(), repr=False)
    dropped: bool = False
    sides: tuple[Side, ...] = ()
    revival: Mapping[str, tuple[Index, ...]] = field(default_factory=dict)
    distance: float = 0
    fewest: bool = True
    numbers: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n  ".join(self._lines())

    def _lines(self) -> list[str]:
        lines = [f"{self.what} is {'alive' if self.alive else 'dead'}"]
        lines += [", ".join(f"{count:,} {name}" for name, count in self.numbers.items())] if self.numbers else []
        lines += ["its own mask drops it"] if self.dropped else []
        lines += [str(side) for side in self.sides]
        lines += [str(step) for step in self.path]
        if not self.alive:
            lines.append(self._way_out())
        return lines

    def _way_out(self) -> str:
        if self.distance == inf:
            return "no connections that could come back would make it alive"
        back = [f"{name}[{', '.join(map(str, each))}]" for name, some in self.revival.items() for each in some]
        most = "" if self.fewest else "at most "
        return f"alive again with {most}{len(back)} back: {', '.join(back[:8])}{' ...' if len(back) > 8 else ''}"


def explain(
    graph: LayeredGraph, parameter: str, index: int | Sequence[int] | None = None, *, unit: int | None = None
) -> Explanation:
    """Say why a connection, a unit or a whole parameter is alive or dead.

    Args:
        graph: as `graphsparse.export` gives it, under the masks that are asked about.
        parameter: the name of a parameter; with ``unit`` that of a layer (see ``graph.layers``).
        index: the connection's index in the parameter, a flat one or one number per axis; None for all of it.
        unit: the number of a unit within the layer.

    Returns:
        `Explanation`: ``.alive`` with ``.path`` as witness; or what is missing, who cut it and what would bring it back.

    Raises:
        MaskError: a name or an index that the graph does not have. ArgumentError: both index and unit.

    Example:
        >>> import torch
        >>> from graphsparse.capture import export
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> print(explain(export(layers, torch.zeros(1, 2), masks), "0.weight", (1, 1)))
        0.weight[1, 1] is dead
          no way to the sinks: nothing of 1 is reached, cut by the masks of 1.weight
          alive again with 1 back: 1.weight[0, 1]
    """
    swept = Swept(checked_graph(graph))
    if unit is not None:
        if index is not None:
            raise ArgumentError("index or unit must be given, not both", received=f"index={index}, unit={unit}")
        return _of_unit(swept, parameter, unit)
    name = connected_parameter(graph, parameter, also="; for a unit give its layer and unit=")
    return _of_parameter(swept, name) if index is None else _of_connection(swept, name, _flat(graph, name, index))


def _flat(graph: LayeredGraph, name: str, index: int | Sequence[int]) -> int:
    shape = tuple(graph.shapes[name])
    try:
        given: Any = index if isinstance(index, Sequence) else np.ravel(index)
        places = [whole_number(place) for place in given]
        if len(places) == 1 and len(shape) != 1:
            return int(np.arange(np.prod(shape))[places[0]])
        places = [place + size if place < 0 else place for place, size in zip(places, shape, strict=True)]
        return int(np.ravel_multi_index(places, shape))
    except (TypeError, ValueError, IndexError) as error:
        raise MaskError(
            "an index must be of a connection of its parameter", place=name, received=index,
            way_out=f"give one number for each axis of {shape}",
        ) from error  # fmt: skip


def _of_connection(swept: Swept, name: str, entry: int) -> Explanation:
    graph, found, steps = swept.graph, swept.liveness, Steps(swept.graph)
    index = _index(graph, name, entry)
    what = f"{name}[{', '.join(map(str, index))}]"
    places = [step for step in steps.of_entry(name, entry)]
    active = next((s for s in places if s.kept and found.signal[s.source] and found.reaches[s.target]), None)
    if active is not None:
        return Explanation(what, True, _named(graph, witness(swept, steps, active)))
    dropped = not bool(graph.kept[name].unpack().reshape(-1)[entry])
    if not places:
        return Explanation(what, False, dropped=dropped, distance=inf)
    costs = swept.revival
    cost = lambda step: costs.signal[step.source] + (not step.kept) + costs.reaches[step.target]
    best = min(places, key=cost)
    sides = _sides(swept, best.source, best.target)
    if cost(best) == inf:
        return Explanation(what, False, dropped=dropped, sides=sides, distance=inf)
    back = revival(swept, steps, best.source, best.target, [] if best.kept else [(name, entry)])
    return Explanation(
        what, False, (), dropped, sides, _by_name(graph, back), len(back), len(back) == 1 or _exact(graph)
    )


def _of_unit(swept: Swept, layer_name: str, number: int) -> Explanation:
    graph, steps = swept.graph, Steps(swept.graph)
    layer = next((layer for layer in graph.layers if layer.name == layer_name), None)
    if layer is None:
        raise MaskError(
            "a unit must be one of a layer of the graph", place=str(layer_name), received="a name that no layer has",
            way_out=f"{suggestion(layer_name, (each.name for each in graph.layers))}see graph.layers for names",
        )  # fmt: skip
    if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number < len(layer):
        raise MaskError(
            "a unit must be one of a layer of the graph", place=layer_name, received=f"unit {number}",
            way_out=f"give a whole number from 0 to {len(layer) - 1}",
        )  # fmt: skip
    number = int(number)
    unit, what = layer.start + number, f"{layer_name}[{number}]"
    if swept.live[unit]:
        return Explanation(what, True, _named(graph, witness(swept, steps, unit)))
    sides = _sides(swept, unit, unit)
    costs = swept.revival
    if costs.signal[unit] + costs.reaches[unit] == inf:
        return Explanation(what, False, sides=sides, distance=inf)
    back = revival(swept, steps, unit, unit)
    return Explanation(what, False, (), False, sides, _by_name(graph, back), len(back), len(back) == 1 or _exact(graph))


def _of_parameter(swept: Swept, name: str) -> Explanation:
    """The one of its most lively connection, with counts of all."""
    graph, costs = swept.graph, swept.revival.connections()
    active, kept = swept.masks["active"][name], graph.kept[name]
    numbers = {"connections": kept.size, "kept": kept.count(), "active": active.count()}
    if not kept.size:
        return Explanation(name, False, distance=inf, numbers=numbers)
    best = int(np.argmin(np.where(active.unpack(), -1, costs[name])))
    found = _of_connection(swept, name, best)
    return Explanation(
        name,
        found.alive,
        found.path,
        not kept.count(),
        found.sides,
        found.revival,
        found.distance,
        found.fewest,
        numbers,
    )


def _sides(swept: Swept, origin: int, target: int) -> tuple[Side, ...]:
    found, whole = swept.liveness, Swept(dense(swept.graph))
    sides = []
    if not found.signal[origin]:
        sides.append(missing_side(swept, whole, origin, "sources"))
    if not found.reaches[target]:
        sides.append(missing_side(swept, whole, target, "sinks"))
    return tuple(sides)


def _exact(graph: LayeredGraph) -> bool:
    """Whether the sweep counts no connection twice: no products, no parameter that several operations use."""
    return not graph.gated and all(len(blocks) == 1 for blocks in graph.kernels.values())


def _index(graph: LayeredGraph, name: str, entry: int) -> Index:
    return tuple(int(place) for place in np.unravel_index(entry, graph.shapes[name]))


def _by_name(graph: LayeredGraph, back: list[tuple[str, int]]) -> dict[str, tuple[Index, ...]]:
    names = dict.fromkeys(name for name, _ in back)
    return {name: tuple(_index(graph, n, entry) for n, entry in back if n == name) for name in names}


def _named(graph: LayeredGraph, path: list[Step]) -> tuple[PathStep, ...]:
    found = []
    for step in path:
        source, target = graph.layer_of(step.source), graph.layer_of(step.target)
        index = None if step.parameter is None else _index(graph, step.parameter, step.entry)
        found.append(
            PathStep(source.name, step.source - source.start, target.name, step.target - target.start,
                     step.parameter, index)
        )  # fmt: skip
    return tuple(found)

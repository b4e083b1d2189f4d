"""Why a connection, a unit or a parameter is alive or dead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from operator import index as whole_number
from typing import Any

import numpy as np

from graphsparse.errors import ArgumentError, MaskError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.names import connected_parameter, suggestion
from graphsparse.metrics.cones import Side, dense, missing_side
from graphsparse.metrics.parts import Swept
from graphsparse.metrics.steps import Step, Steps, revival, witness

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

    ``path`` is one path from a source to a sink through what is alive, step by step. For what is dead, ``dropped`` says
    whether its own mask drops it, and ``sides`` what it lacks towards sources and sinks, at the place where least is lacking.
    ``revival`` holds dropped connections (indices by parameter) whose return makes it alive, itself included; ``distance``
    counts them, and with ``fewest`` no fewer would do. ``numbers`` are counts of a parameter's connections.
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
        lines = [f"{self.what} is {'alive' if self.alive else 'dead'}"]
        lines += [", ".join(f"{count:,} {name}" for name, count in self.numbers.items())] if self.numbers else []
        lines += ["its own mask drops it"] if self.dropped else []
        lines += [str(side) for side in self.sides]
        lines += [str(step) for step in self.path]
        if not self.alive:
            lines.append(self._way_out())
        return "\n  ".join(lines)

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
    what = f"{name}[{', '.join(map(str, _index(graph, name, entry)))}]"
    places = list(steps.of_entry(name, entry))
    active = next((s for s in places if s.kept and found.signal[s.source] and found.reaches[s.target]), None)
    if active is not None:
        return Explanation(what, True, _named(graph, witness(swept, steps, active)))
    dropped = not bool(graph.kept[name].unpack().reshape(-1)[entry])
    if not places:
        return Explanation(what, False, dropped=dropped, distance=inf)
    costs = swept.revival
    best = min(places, key=lambda step: costs.signal[step.source] + (not step.kept) + costs.reaches[step.target])
    own = [] if best.kept else [(name, entry)]
    return replace(_dead(swept, steps, what, (best.source, best.target), own), dropped=dropped)


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
    unit, what = layer.start + int(number), f"{layer_name}[{int(number)}]"
    if swept.live[unit]:
        return Explanation(what, True, _named(graph, witness(swept, steps, unit)))
    return _dead(swept, steps, what, (unit, unit))


def _of_parameter(swept: Swept, name: str) -> Explanation:
    """The explanation of the connection that lacks least, with counts of all."""
    active, kept = swept.masks["active"][name], swept.graph.kept[name]
    numbers = {"connections": kept.size, "kept": kept.count(), "active": active.count()}
    if not kept.size:
        return Explanation(name, False, distance=inf, numbers=numbers)
    best = int(np.argmin(np.where(active.unpack(), -1, swept.revival.connections()[name])))
    return replace(_of_connection(swept, name, best), what=name, dropped=not kept.count(), numbers=numbers)


def _dead(
    swept: Swept, steps: Steps, what: str, ends: tuple[int, int], own: Iterable[tuple[str, int]] = ()
) -> Explanation:
    """Why there is no path to the first of two units and on from the second; ``own`` connections must come back anyhow."""
    (origin, target), graph, found, costs = ends, swept.graph, swept.liveness, swept.revival
    whole = Swept(dense(graph))
    lacking = [(origin, "sources")] if not found.signal[origin] else []
    lacking += [(target, "sinks")] if not found.reaches[target] else []
    sides = tuple(missing_side(swept, whole, unit, side) for unit, side in lacking)
    if costs.signal[origin] + costs.reaches[target] == inf:
        return Explanation(what, False, sides=sides, distance=inf)
    back = revival(swept, steps, origin, target, own)
    # the sweep counts no connection twice: there are no products, and no parameter is used by several operations
    exact = not graph.gated and all(len(blocks) == 1 for blocks in graph.kernels.values())
    names = dict.fromkeys(name for name, _ in back)
    by_name = {name: tuple(_index(graph, n, entry) for n, entry in back if n == name) for name in names}
    return Explanation(what, False, (), False, sides, by_name, len(back), len(back) == 1 or exact)


def _index(graph: LayeredGraph, name: str, entry: int) -> Index:
    return tuple(int(place) for place in np.unravel_index(entry, graph.shapes[name]))


def _named(graph: LayeredGraph, path: list[Step]) -> tuple[PathStep, ...]:
    found = []
    for step in path:
        (source, n), (target, m) = ((graph.layer_of(unit), unit) for unit in (step.source, step.target))
        index = None if step.parameter is None else _index(graph, step.parameter, step.entry)
        found.append(PathStep(source.name, n - source.start, target.name, m - target.start, step.parameter, index))
    return tuple(found)

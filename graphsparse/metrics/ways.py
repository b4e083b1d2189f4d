"""Ways through the graph, found backwards from what a sweep says: a witness of life, and the fewest that would revive."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphsparse.blocks import CONSTANT
from graphsparse.metrics.parts import Swept
from graphsparse.metrics.steps import Step, Steps

Connection = tuple[str, int]


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

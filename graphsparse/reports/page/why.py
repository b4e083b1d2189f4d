"""Why connections that are kept are dead, in sentences: what they lack, and whose masks took it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graphsparse.algebras import OR_AND
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.cones import dense, missing_side
from graphsparse.metrics.parts import Swept
from graphsparse.metrics.steps import Steps
from graphsparse.pages.render import count

WORK = 2_000_000_000
"""Connections and units that all examples of a page may look at."""
SWEEPS = 4_000
"""Sweeps that all examples of a page may take; one takes up to as many as there are layers."""
SIDES = {"sources": "start at units that no input moves", "sinks": "end at units that reach no output"}


def reasons(swept: Swept) -> dict[str, list[str]]:
    """Sentences for each parameter; none where nothing that is kept is dead."""
    graph, found = swept.graph, swept.liveness
    every = OR_AND.vector(graph.n_units)
    OR_AND.put(every, np.arange(graph.n_units), True)
    fed, read = replace(found, reach=every).connections(), found.connections(every)
    lost = {name: graph.kept[name].without(swept.masks["active"][name]) for name in graph.shapes}
    lost = {name: mask for name, mask in lost.items() if mask.count()}
    wanted = sorted(lost, key=lambda name: -lost[name].count())
    wanted = wanted[: min(WORK // max(8 * graph.n_connections + graph.n_units, 1), SWEEPS // max(len(graph.layers), 1))]
    whole = Swept(dense(graph)) if wanted else swept
    texts: dict[str, list[str]] = {name: [] for name in graph.shapes}
    for name, mask in lost.items():
        parts = {"sources": mask.without(fed[name]), "sinks": mask.without(read[name])}
        texts[name] = _sentences(mask, parts)
        if name in wanted:
            texts[name] += [_example(swept, whole, name, parts[side], side) for side in SIDES if parts[side].count()]
    return texts


def _sentences(lost: Mask, parts: dict[str, Mask]) -> list[str]:
    """How many lack what."""
    both = parts["sources"].both(parts["sinks"]).count()
    rest = lost.without(parts["sources"].either(parts["sinks"])).count()
    said = [f"{count(mask.count())} {SIDES[side]}" for side, mask in parts.items() if mask.count()]
    said += [f"{count(both)} of them lack both"] if both else []
    said += [f"{count(rest)} have both, but never at one position, or their product has a zero operand"] if rest else []
    return [f"{count(lost.count())} kept connections are dead: {'; '.join(said)}."]


def place_of(name: str, entry: int, shape: tuple[int, ...]) -> str:
    """A parameter with the index of one of its entries, given flat.

    Example:
        >>> place_of("fc.weight", 5, (2, 4))
        'fc.weight[1, 1]'
    """
    return f"{name}[{', '.join(map(str, np.unravel_index(entry, shape)))}]"


def _example(swept: Swept, whole: Swept, name: str, mask: Mask, side: str) -> str:
    """The first of these connections, and where its way ends."""
    entry = int(np.flatnonzero(mask.unpack())[0])
    step = next(iter(Steps(swept.graph).of_entry(name, entry)), None)
    place = place_of(name, entry, mask.shape)
    if step is None:
        return f"For example {place}: it only ever reads padding."
    unit = step.source if side == "sources" else step.target
    return f"For example {place}: {missing_side(swept, whole, unit, side)}."

"""The flow: layers by rank and what leads from one to another, down to channels and single units."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from graphsparse.algebras import OR_AND
from graphsparse.blocks import Block, Gate, KernelBlock
from graphsparse.graph import Edge, LayeredGraph
from graphsparse.metrics.parts import Swept, conducting
from graphsparse.metrics.topology import layer_names
from graphsparse.pages.sections import Section
from graphsparse.reports.page.fine import channels, units

STATES = ("alive", "constant", "starved", "stranded")
"""A unit counts in the first that fits: on a path; a number that no input moves; always zero; reaching no sink."""
MODULES = 40
"""Modules that one picture holds."""


def section(swept: Swept, fragile: dict[str, Any] | None = None) -> Section:
    """The layers of a swept graph, the edges between them, its channels and its units, as far as they are drawn.

    ``fragile`` is drawn on them, as `graphsparse.reports.page.fragility` gives it.
    """
    graph = swept.graph
    names, states = layer_names(graph), states_of(swept)
    each = [np.bincount(graph.owner[states == n], minlength=len(graph.layers)) for n in range(len(STATES))]
    counts = np.stack(each, 1).tolist()
    columns, lanes = places(graph)
    edges = [edge_of(swept, edge) for edge in graph.edges]
    modules = modules_of([layer.name for layer in graph.layers])
    levels = {"channels": channels(swept, states), "units": units(swept, states)}
    drawn = {
        "names": names, "operations": [layer.operation for layer in graph.layers],
        "units": [len(layer) for layer in graph.layers],
        "states": counts, "columns": columns, "lanes": lanes, "modules": modules, "edges": edges,
        "levels": {name: level for name, level in levels.items() if isinstance(level, dict)}, "fragile": fragile or {},
    }  # fmt: skip
    rows = [
        {"name": name, "operation": layer.operation, "rank": layer.rank, "units": len(layer), **dict(zip(STATES, row))}
        for name, layer, row in zip(names, graph.layers, counts)
    ]
    between = [{"source": names[a], "target": names[b], "kind": kind, "kept": kept, "active": active}
               for a, b, kind, kept, active in edges]  # fmt: skip
    missing = [text for text in levels.values() if isinstance(text, str)]
    values = {"rows": rows, "states": STATES, "edges": between, "missing": missing,
              "modules": len(set(modules)) < len(modules)}  # fmt: skip
    return Section("flow", "Flow", values, drawn, ("flow.js", "fine.js"))


def states_of(swept: Swept) -> np.ndarray:
    """The place in `STATES` of each unit."""
    found = swept.liveness
    return np.select([swept.live, found.nonzero & ~found.signal, ~found.signal], [0, 1, 2], 3)


def places(graph: LayeredGraph) -> tuple[list[int], list[int]]:
    """The column of each layer, one for each rank, and its lane among those of one rank."""
    ranks = sorted({layer.rank for layer in graph.layers})
    columns = [ranks.index(layer.rank) for layer in graph.layers]
    return columns, [columns[:number].count(column) for number, column in enumerate(columns)]


def modules_of(names: list[str]) -> list[str]:
    """The module of each layer: as many parts of the names as leave no more than `MODULES` of them.

    Example:
        >>> modules_of(["net.a.fc", "net.a.act", "net.b.fc"])
        ['net.a.fc', 'net.a.act', 'net.b.fc']
    """
    parts = [name.split(".") for name in names]
    depth = max(map(len, parts), default=1)
    while depth > 1 and len({".".join(each[:depth]) for each in parts}) > MODULES:
        depth -= 1
    return [".".join(each[:depth]) for each in parts]


def edge_of(swept: Swept, edge: Edge) -> tuple[int, int, str, int, int]:
    """The layers that a block joins, its kind, and how many of its connections (or wires) are kept and are active.

    A connection between the two layers counts once, at however many positions it acts.
    """
    graph, block = edge.graph, edge.block
    source, target = (int(graph.owner[layer.start]) if len(layer) else 0 for layer in (edge.source, edge.target))
    inside = np.zeros(graph.n_units, bool)
    inside[edge.source.start : edge.source.stop] = True
    if isinstance(block, KernelBlock):
        return source, target, "connections", *_connections(swept, block, inside)
    return source, target, "products" if isinstance(block, Gate) else "wires", *_wires(swept, block, inside)


def _connections(swept: Swept, block: KernelBlock, inside: np.ndarray) -> tuple[int, int]:
    graph, found = swept.graph, swept.liveness
    count = partial(OR_AND.count, [(block, graph.kept[block.mask])], graph.shapes[block.parameter])
    kept = count(_vector(inside), _vector(np.ones(graph.n_units, bool)))
    return int(kept), int(count(_vector(inside & found.signal), _vector(found.reaches)))


def _vector(flags: np.ndarray) -> Any:
    vector = OR_AND.vector(len(flags))
    OR_AND.put(vector, np.flatnonzero(flags), True)
    return vector


def _wires(swept: Swept, block: Block, inside: np.ndarray) -> tuple[int, int]:
    graph, found = swept.graph, swept.liveness
    sources, _, _ = block.pairs(graph.kept)
    origins, targets, _ = conducting(block, np.append(found.nonzero, [True, False])).pairs(graph.kept)
    active = inside[origins] & found.signal[origins] & found.reaches[targets]
    return int(np.count_nonzero(inside[sources])), int(np.count_nonzero(active))

"""Metrics of fragility: what every path needs, what dies with a unit or an edge, minimum cut, widest path.

They are of the active part, so both parts have the same values.
"""

from __future__ import annotations

import numpy as np

from graphsparse.algebras import MAX_MIN, MAX_MIN_64
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.kernels.listed import Listed
from graphsparse.kernels.numbers import Numbers
from graphsparse.metrics.cuts import cut_of
from graphsparse.metrics.dominators import Dominators
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.paths import totals
from graphsparse.metrics.table import Found, metric
from graphsparse.sweep import sweep

NO_PATH, NO_UNIT = "there is no path from a source to a sink", "no live unit"


def dominators(graph: LayeredGraph) -> Dominators:
    """The dominator trees of the active part, and what dies with each of its units and edges.

    In graphs with products a unit's loss may also stop the other operand: what dies is a lower bound there.

    Example:
        >>> import torch, graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> graph = gs.export(layers, torch.zeros(1, 2), masks)
        >>> int(dominators(graph).retained_by_units.argmax())
        2
    """
    return dominators_of(Swept(checked_graph(graph)))


def dominators_of(swept: Swept) -> Dominators:
    """`dominators` of a swept graph."""
    graph, entering = swept.graph, swept.in_degrees["active"]
    return Dominators.of(swept.edges["active"], entering, graph.sources, graph.sinks, swept.live)


@metric("fragility", "units", of="units", shared=True)
def unavoidable_units(part: Part) -> Found:
    """Units through which every source-sink path goes, a single source or sink among them. Cost: as `most_lost_by_a_unit`."""
    return _unavoidable(part, edges=False)


@metric("fragility", "edges", of="edges", shared=True)
def unavoidable_edges(part: Part) -> Found:
    """Edges through which every source-sink path goes, by the layer of their target. Cost: as `most_lost_by_a_unit`."""
    return _unavoidable(part, edges=True)


def _unavoidable(part: Part, edges: bool) -> Found:
    if not part.swept.live.any():
        return _undefined(part, NO_PATH)
    found = part.swept.once(dominators_of)
    units, places = found.unavoidable(part.graph.sinks)
    at = found.edges.indices[places] if edges else units
    return Found.of_units(part, np.bincount(at, minlength=part.graph.n_units))


@metric("fragility", "edges", of="edges", shared=True)
def most_lost_by_a_unit(part: Part) -> Found:
    """The most active edges that lie on no path any more once one unit is gone: of all units, of a layer's.

    One pass over the edges forwards and one backwards, with nearest common ancestors (dominators on a graph without
    cycles). A lower bound in graphs with products. Cost: nothing per edge beside the csr.
    """
    return _greatest(part, np.where(part.swept.live, part.swept.once(dominators_of).retained_by_units, -1))


@metric("fragility", "edges", of="edges", shared=True)
def most_lost_by_an_edge(part: Part) -> Found:
    """The most active edges that lie on no path any more once one edge is gone, itself included, by its target's layer.

    Cost: as `most_lost_by_a_unit`.
    """
    return _greatest(part, part.swept.once(dominators_of).most_retained_by_edges)


def _greatest(part: Part, values: np.ndarray) -> Found:
    """The greatest value of a unit, in all and by layer; -1 is none."""
    layers = np.asarray([values[layer.start : layer.stop].max(initial=-1) for layer in part.graph.layers], float)
    layers[layers < 0] = np.nan
    return Found(float(np.fmax.reduce(layers, initial=np.nan)), layers, None, NO_UNIT)


@metric("fragility", "edges", limit=1_000_000, shared=True)
def minimum_cut(part: Part) -> Found:
    """The fewest edges of connections whose loss leaves no source-sink path, and of one such set those of each layer.

    Wires cannot be lost. `graphsparse.metrics.cuts.minimum_cut` names the edges. Cost: maximum flow (SciPy's Dinic), more
    than linear in the edges.
    """
    cut = part.swept.once(cut_of)
    if np.isnan(cut.size):
        return _undefined(part, "wires alone lead from a source to a sink")
    return Found.of_units(part, np.bincount(cut.targets, minlength=part.graph.n_units))


@metric("fragility", "absolute weight", shared=True)
def widest_path(part: Part) -> Found:
    """The greatest w at which the connections of absolute weight w or more still lead from a source to a sink.

    By parameter: those that keep one of its connections active. In graphs without products it is the widest path, the
    greatest of all paths' least weights; a product needs what holds its other operand up, too. Cost: one sweep in
    (max, min), some 16 bytes per kept connection.
    """
    return part.swept.once(_widest)


def _widest(swept: Swept) -> Found:
    graph, names = swept.graph, list(swept.graph.shapes)
    if any(name not in graph.weights for name in names):
        return Found(np.nan, None, dict.fromkeys(names, np.nan), "the weights are not known")
    algebra = MAX_MIN if all(graph.weights[name].dtype == np.float32 for name in names) else MAX_MIN_64
    found = sweep(graph, {key: _absolute(swept, key, algebra) for key in swept.entries}, algebra)
    best = lambda values: float(values.max()) if values.size and values.max() > -np.inf else np.nan
    parameters = {name: best(total) for name, total in totals(found, algebra).items()}
    return Found(best(found.signal[graph.sinks]), None, parameters, NO_PATH)


def _absolute(swept: Swept, key: str, algebra: Numbers) -> Listed:
    """The absolute weights of what a mask keeps; those that are no numbers carry nothing."""
    graph, entries = swept.graph, swept.entries[key]
    name = graph.uses[key].parameter if key in graph.uses else key
    weights = np.abs(np.asarray(graph.weights[name]).reshape(-1)[entries.flat]).astype(algebra.dtype)
    return Listed(entries, np.where(np.isnan(weights), algebra.zero, weights))


def _undefined(part: Part, reason: str) -> Found:
    return Found(np.nan, np.full(len(part.graph.layers), np.nan), None, reason)

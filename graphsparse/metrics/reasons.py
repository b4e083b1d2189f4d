"""Metrics of the reasons: at which layer kept connections lose their way to a source or to a sink, and by whose masks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas

from graphsparse import adjacency
from graphsparse.blocks import Gate, Scale
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.edges import entering
from graphsparse.metrics.ends import all_kept, ends, every_unit
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric

SIDES = ("sources", "sinks")


@metric("why", "connections")
def cut_from_sources(part: Part) -> Found:
    """Kept connections whose origin no source reaches, by the layer at which their way back ends and the parameters that cut it.

    See `cut_connections`, which has both together. A connection that several parameters cut counts for each of them, and
    once in all. Cost: a pass over the edges, and over the places of dead connections.
    """
    return _found(part, "sources")


@metric("why", "connections")
def cut_from_sinks(part: Part) -> Found:
    """Kept connections that a source reaches and that reach no sink, by the layer at which their way on ends; as
    `cut_from_sources`. Cost: as that."""
    return _found(part, "sinks")


@metric("why", "connections", of="remaining")
def acting_nowhere(part: Part) -> Found:
    """Kept connections that act at no place, for they read padding alone: no mask cuts them. By their own parameter.

    With `cut_from_sources` and `cut_from_sinks` these are all that is kept and not active. Cost: as these.
    """
    cuts, kept = part.swept.once(_cuts), part.name == "kept"
    return Found.of_parameters({n: kept * cuts[n, "nowhere", -1, ()] for n in part.graph.shapes})


def cut_connections(graph: LayeredGraph) -> pandas.DataFrame:
    """Count the kept connections that are dead by who cut them.

    A connection is cut from the *sources* where no source reaches its origin. Its way back leads over kept connections and
    wires through units that no source reaches; of a product it takes the operand that is zero. It ends at the first unit of
    the graph that it leads to; the parameters with a dropped connection into this unit cut it. Where a source reaches the
    origin, the connection is cut from the *sinks*. Its way on leads through units that reach no sink, and ends at the last
    one; the parameters with a dropped connection out of it cut it. Where a product stops it there, the parameters cut it
    that cut the other operand from the sources. A masked scale ends a way, too. A connection that acts at several places is
    cut from the sinks if a source reaches its origin at any of them; the first such place counts.

    Returns:
        A row per ``parameter`` of the dead connections, ``side`` ("sources", "sinks"; "nowhere" for what reads padding
        alone), ``layer`` where the way ends, and ``cut_by``, the parameters joined by commas ("" where no mask did it): how
        many ``connections``.

    Example:
        >>> import torch, graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> cut_connections(gs.export(layers, torch.zeros(1, 2), masks)).values.tolist()
        [['0.weight', 'sinks', '0', '1.weight', 1]]
    """
    graph, counts = checked_graph(graph), Counter[tuple[str, str, str, str]]()
    for (parameter, side, layer, by), count in _cuts(Swept(graph)).items():
        counts[parameter, side, graph.layers[layer].name if layer >= 0 else "", ", ".join(by)] += count
    columns = ["parameter", "side", "layer", "cut_by", "connections"]
    return pandas.DataFrame([(*key, count) for key, count in counts.items()], columns=columns)


def _found(part: Part, side: str) -> Found:
    """Nothing of the active part is cut: its rows are those of what is kept, all 0."""
    layers, parameters = np.zeros(len(part.graph.layers)), Counter[str](dict.fromkeys(part.graph.shapes, 0))
    for (_, where, layer, by), count in part.swept.once(_cuts).items():
        if where == side:
            count *= part.name == "kept"
            layers[layer] += count
            parameters.update(dict.fromkeys(by, count))
    return Found(float(layers.sum()), layers, {name: float(count) for name, count in parameters.items()})


def _cuts(swept: Swept) -> Counter[tuple[str, str, int, tuple[str, ...]]]:
    """How many dead kept connections each parameter has by side, index of the layer (-1 for "nowhere"), and who cut them."""
    graph, signal, counts = swept.graph, swept.liveness.signal, Counter[tuple[str, str, int, tuple[str, ...]]]()
    (first, last), (into, out, names), zero = _ends(swept), _cutters(swept), _zero_operands(swept)
    for parameter in graph.shapes:
        sources, targets, nowhere = _places(swept, parameter)
        upstream = ~signal[sources]
        ends = np.where(upstream, first[sources], last[targets])
        stopped = np.where(upstream, -1, zero[ends])  # the operand that is zero where a product stops the way
        cutters = np.where(upstream, into[ends], np.where(stopped < 0, out[ends], into[first[stopped]]))
        table = 2, len(graph.layers), len(names)
        times = np.bincount(np.ravel_multi_index((~upstream, graph.owner[ends], cutters), table))
        rows = np.flatnonzero(times)
        for side, layer, by, count in zip(*(each.tolist() for each in (*np.unravel_index(rows, table), times[rows]))):
            counts[parameter, SIDES[side], layer, names[by]] += count
        if nowhere:
            counts[parameter, "nowhere", -1, ()] = nowhere
    return counts


def _places(swept: Swept, parameter: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Origins and targets of a parameter's dead kept connections, each at the place that counts; how many have no place."""
    graph, active, blocks = swept.graph, swept.masks["active"][parameter], swept.graph.kernels[parameter]
    dead = swept.entries[parameter].flat
    dead = dead[~active.unpack().reshape(-1)[dead]]
    places = np.zeros((len(dead), 2), np.int32)
    for block in blocks:
        if block.mask == parameter and block.view.covers(active.size):
            elements, entries = dead, np.arange(len(dead))
        else:
            elements = np.flatnonzero(block.view.of(graph.kept[block.mask].without(active).unpack().reshape(-1)))
            entries = np.searchsorted(dead, block.view.entries().reshape(-1)[elements])
        _place(elements, entries, block.sources, block.taps.table, block.targets, swept.liveness.signal, places)
    sources, targets = places[places[:, 0] > 0].T - 1
    return sources, targets, len(dead) - len(sources)


@compiled
def _place(elements: Any, entries: Any, sources: Any, table: Any, targets: Any, signal: Any, places: Any) -> None:
    """Note in ``places`` (dead entries, 2) the ends of the first place at which an element of a kernel acts, or of the first
    whose origin has a ``signal``: each is 1 more than the unit's id, so that 0 is none."""
    rows, columns = targets.shape[1], sources.shape[1] * len(table)
    for element, entry in zip(elements, entries):
        row, j = element // columns, element % columns
        out, tap, read = targets[row // rows, row % rows], table[j % len(table)], sources[row // rows, j // len(table)]
        for p in range(tap.size):
            if places[entry, 0] > 0 and signal[places[entry, 0] - 1]:
                break
            u = read[tap[p]] if tap[p] >= 0 else -1
            if u >= 0 and (places[entry, 0] == 0 or signal[u]):
                places[entry, 0], places[entry, 1] = u + 1, out[p] + 1


def _ends(swept: Swept) -> tuple[np.ndarray, np.ndarray]:
    """For each unit the first that leads to it through units without signal, and the last to which it leads through units
    that reach no sink."""
    graph, found, edges = swept.graph, swept.liveness, swept.edges["kept"]
    barrier, first, last = np.zeros(graph.n_units, bool), np.arange(graph.n_units), np.arange(graph.n_units)
    barrier[graph.cut] = True
    if graph.cut.size:  # up to such a unit, and from it
        edges = adjacency.build(graph.layers, graph.kept, graph.cut[:0])
    ways, none = edges, np.zeros(graph.n_units + 1, edges.indptr.dtype)
    if graph.gated:  # a zero operand is the one that a product lacks; all are where none leads on
        ways = adjacency.build(swept.conducting_layers, graph.kept, graph.cut[:0])
    more = edges.indptr if graph.gated else none
    fed = entering(ways) > 0 if graph.gated else barrier
    _spread(ways.indptr, ways.indices, more, edges.indices, fed, found.signal, barrier, first)
    _spread_back(edges.indptr, edges.indices, found.reaches, barrier, last)
    return first, last


@compiled
def _spread(
    starts: Any, indices: Any, all_starts: Any, all_indices: Any, some: Any, signal: Any, barrier: Any, first: Any
) -> Any:
    for u in range(first.size):  # every edge leads to a greater id
        if signal[u]:
            continue
        for e in range(starts[u], starts[u + 1]):
            v = indices[e]
            if not signal[v] and not barrier[v]:
                first[v] = min(first[v], first[u])
        for e in range(all_starts[u], all_starts[u + 1]):
            v = all_indices[e]
            if not some[v] and not signal[v] and not barrier[v]:  # both operands are zero
                first[v] = min(first[v], first[u])


@compiled
def _spread_back(starts: Any, indices: Any, reaches: Any, barrier: Any, last: Any) -> Any:
    for u in range(last.size - 1, -1, -1):
        if reaches[u] or barrier[u]:  # no way leads through a unit that reaches a sink
            continue
        for e in range(starts[u], starts[u + 1]):
            if not reaches[indices[e]]:
                last[u] = max(last[u], last[indices[e]])


def _cutters(swept: Swept) -> tuple[np.ndarray, np.ndarray, list[tuple[str, ...]]]:
    """Which parameters have connections into each unit, and out of it, as numbers of tuples of names: where a way ends, all
    these connections are dropped."""
    graph, kept, every = swept.graph, all_kept(swept.graph), every_unit(swept.graph)
    into, out = np.zeros((2, graph.n_units), np.int32)
    found: dict[tuple[str, ...], int] = {(): 0}

    lost = ~swept.live  # no way ends at other units

    def add(codes: np.ndarray, units: np.ndarray, name: str) -> None:
        known, here = list(found), codes[units]
        for code in np.flatnonzero(np.bincount(here)).tolist():
            more = known[code] if name in known[code] else (*known[code], name)
            codes[units[here == code]] = found.setdefault(more, len(found))

    for name in graph.shapes:
        for codes, flags in zip((out, into), ends(graph, kept, (name,), every, every)):
            add(codes, np.flatnonzero(flags & lost), name)
    for stage in (stage for layer in graph.layers for stage in layer.stages if isinstance(stage, Scale)):
        units = np.unique(stage.cut(graph.kept))
        for codes in (into, out):
            codes[units] = found.setdefault((stage.parameter,), len(found))
    return into, out, list(found)


def _zero_operands(swept: Swept) -> np.ndarray:
    """For each unit that only products keep from the sinks the other, zero operand of the first of them; else -1."""
    graph, found, zero = swept.graph, swept.liveness, np.full(swept.graph.n_units, -1)
    for gate in (block for layer in reversed(graph.layers) for block in layer.blocks if isinstance(block, Gate)):
        for mine, others in ((gate.lefts, gate.rights), (gate.rights, gate.lefts)):
            use = np.flatnonzero((mine >= 0) & (others >= 0) & found.reaches[gate.targets])
            use = use[~found.reaches[mine[use]] & ~found.nonzero[others[use]]][::-1]
            zero[mine[use]] = others[use]
    return zero

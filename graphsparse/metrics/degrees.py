"""Metrics of degrees: how connections are spread over units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.compiling import compiled, inlined
from graphsparse.metrics.encodings import NO_WEIGHTS
from graphsparse.metrics.ends import kernels_of
from graphsparse.metrics.fits import Histogram, summary_row
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, Metric, metric, rows_of_parameters

HUB = 3.0


def _spread(way: str) -> tuple[Metric, ...]:
    """The rows of how the degrees in one direction are spread."""
    edges, ends = ("into", "sources") if way == "in" else ("out of", "sinks")
    of_units = f"over the units of `mean_{way}_degree`"
    rows = (
        ("mean", "edges per unit", Histogram.mean, f"Mean number of edges {edges} the part's units, {ends} left out."),
        ("greatest", "edges per unit", Histogram.greatest, f"The greatest number of edges {edges} a unit."),
        ("variation_of", "ratio", Histogram.variation,
         f"Coefficient of variation of the {way}-degrees: standard deviation / mean, {of_units}."),
        ("gini_of", "ratio", Histogram.gini, f"Gini coefficient of the {way}-degrees: 0 where all are equal."),
    )  # fmt: skip
    return tuple(summary_row(way, *row) for row in rows)


SPREAD = _spread("in") + _spread("out")


@metric("degrees", "units", of="units")
def hubs(part: Part) -> Found:
    """Units whose degree (in and out) is above the mean of their layer by more than three standard deviations.

    Cost: as `edges`.
    """
    degree, graph = part.in_degrees + part.out_degrees, part.graph
    found = np.zeros(graph.n_units, bool)
    for layer in graph.layers:
        here = slice(layer.start, layer.stop)
        spread = Histogram.of(degree[here], part.units[here])
        if spread.units and spread.greatest() > (bound := spread.mean() + HUB * spread.deviation()):
            found[here] = part.units[here] & (degree[here] > bound)
    return Found.of_units(part, found)


FAN_INS = rows_of_parameters("degrees", "rows", (
    ("live_rows", "", lambda part: {name: each.present.units for name, each in part.once(fan_ins).items()},
     "Rows of kernels (output features) with a connection of the part. Cost: a pass over the masks."),
    ("rows_of_the_usual_fan_in", "live_rows",
     lambda part: {name: each.present.counts.max(initial=0) for name, each in part.once(fan_ins).items()},
     "Rows with a connection whose fan-in is the most frequent one of their parameter: all of them if it is constant. Fan-in: "
     "the connections of a row of a kernel (Lasby et al. 2024, constant fan-in). Rows without any are left out. Cost: a pass "
     "over the masks."),
))  # fmt: skip


@metric("degrees", "connections per row")
def usual_fan_in(part: Part) -> Found:
    """The most frequent fan-in of a parameter's rows that have any. Cost: a pass over the masks."""
    return _of_fan_ins(part, lambda some: float(some.present.values[some.present.counts.argmax()]))


@metric("degrees", "ratio")
def variation_of_fan_in(part: Part) -> Found:
    """Coefficient of variation of the fan-ins of a parameter's rows, empty rows too. Cost: a pass over the masks."""
    return _of_fan_ins(part, Histogram.variation)


def _of_fan_ins(part: Part, summary: Callable[[Histogram], float]) -> Found:
    each = part.once(fan_ins).items()
    values = {name: summary(found) if found.present.units else np.nan for name, found in each}
    return Found(None, None, values, "no row has a connection")


@metric("degrees", "weight per unit")
def strength(part: Part) -> Found:
    """Mean over a parameter's output features of the sum of the absolute weights of their connections.

    Node strength (Cunegatti et al. 2024) with kernels rolled: a weight counts once, not at each position. Cost: a pass
    over the weights.
    """
    values = dict.fromkeys(part.graph.shapes, np.nan)
    for name, mask in part.masks.items():
        known, rows = part.graph.weights.get(name), part.once(fan_ins)[name].units
        if known is not None and rows:
            flat = part.swept.entries[name].flat
            if part.name == "active":
                flat = flat[mask.unpack().reshape(-1)[flat]]
            with np.errstate(over="ignore"):
                values[name] = float(np.abs(np.asarray(known).reshape(-1)[flat], dtype=np.float64).sum() / rows)
    return Found(None, None, values, NO_WEIGHTS)


@metric("degrees", "correlation")
def assortativity(part: Part) -> Found:
    """Pearson correlation, over edges, of the out-degree of the origin and the in-degree of the target (Newman 2003).

    By layer: over the edges into it. Undefined where all degrees of one kind are equal. Cost: a pass over the edges.
    """
    graph, ins = part.graph, part.in_degrees
    powers = np.asarray([_powers(ins[layer.start : layer.stop]) for layer in graph.layers]).reshape(-1, 3).T
    sums = part.swept.once(_over_edges)[part.name]
    layers = np.stack([powers[0], sums[0], sums[1], powers[1], powers[2], sums[2]])
    reason = "all degrees of one kind are equal, or there are no edges"
    return Found(float(_correlation(*layers.sum(1, keepdims=True))[0]), _correlation(*layers), None, reason)


def _over_edges(swept: Swept) -> dict[str, np.ndarray]:
    """What `_add_edges` finds for both parts, (3, layers) each.

    Without products one pass serves both: a kept edge between units that have active edges out and in is active.
    """
    graph, edges, ins = swept.graph, swept.edges, swept.in_degrees
    bounds = np.asarray([0, *(layer.stop for layer in graph.layers)])
    found: dict[str, np.ndarray] = {}
    for first, second in (("kept", "kept"), ("active", "active")) if graph.gated else (("kept", "active"),):
        both, sums = np.stack([ins[first], ins[second]], 1), np.zeros((2, 3, len(graph.layers)))
        ways = edges[first].indptr, edges[first].indices, edges[second].indptr
        _add_edges(*ways, both, graph.owner, bounds, sums)
        found |= {first: sums[0], second: sums[1]}
    return found


def _powers(degrees: np.ndarray) -> tuple[float, float, float]:
    """The sums of degrees, of their squares and of their cubes."""
    values, counts = Histogram.of(degrees)
    values = values.astype(float)
    return float(values @ counts), float(values**2 @ counts), float(values**3 @ counts)


def fan_ins(part: Part) -> dict[str, Histogram]:
    """How many connections of the part the rows of each parameter's kernels have; each kernel of a parameter once."""
    each = part.masks.items()
    return {name: Histogram.of(row_sums(part.graph, name, mask.unpack().reshape(-1))) for name, mask in each}


def row_sums(graph: LayeredGraph, name: str, flat: np.ndarray) -> np.ndarray:
    """The sums of the rows of a parameter's kernels, over a flat array of its entries; each kernel once."""
    sums = [kernel.sum((2, 3)).reshape(-1) for kernel in kernels_of(graph, name, flat)]
    return np.concatenate(sums) if sums else np.empty(0, np.int64)


def _correlation(n: Any, x: Any, xx: Any, y: Any, yy: Any, xy: Any) -> np.ndarray:
    """The correlation of x and y by their number and their sums, NaN where one of them does not vary."""
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    varies = (spread_x > 1e-12 * n * xx) & (spread_y > 1e-12 * n * yy)
    spread = np.sqrt(np.where(varies, spread_x * spread_y, 1))
    return np.where(varies, (n * xy - x * y) / spread, np.nan)


@compiled
def _add_edges(starts: Any, indices: Any, some_starts: Any, ins: Any, owner: Any, bounds: Any, sums: Any) -> None:
    """Add to the layer of each edge's target the out-degree of its origin, its square, and its product with the target's
    in-degree: ``sums`` (2, 3, layers) of all edges and of some, ``ins`` (units, 2). Almost every unit feeds one layer, so
    these are added up unit by unit."""
    for u in range(starts.size - 1):
        first = starts[u]
        degree, some = float(starts[u + 1] - first), float(some_starts[u + 1] - some_starts[u])  # cubes leave int64
        while first < starts[u + 1]:
            layer, end = owner[indices[first]], starts[u + 1]
            if indices[end - 1] >= bounds[layer + 1]:  # the targets of a unit ascend by layers
                end = first
                while indices[end] < bounds[layer + 1]:
                    end += 1
            total, total_some, count = np.int64(0), np.int64(0), some
            for e in range(first, end):
                total += ins[indices[e], 0]
                total_some += ins[indices[e], 1]
            if end - first < starts[u + 1] - starts[u]:
                count = float((ins[indices[first:end], 1] > 0).sum())
            _add(sums[0, :, layer], degree, end - first, total)
            _add(sums[1, :, layer], some, count, total_some)
            first = end


@inlined
def _add(sums: Any, degree: Any, count: Any, total: Any) -> None:
    """Add a unit's edges into a layer, ``count`` of them, whose targets' in-degrees have a ``total``."""
    sums[0] += degree * count
    sums[1] += degree * degree * count
    sums[2] += degree * total

"""Metrics of degrees: how connections are spread over units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.histograms import NO_UNITS, Histogram, summed
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric

NO_WEIGHTS = "the weights are not known"
HUB = 3.0


@metric("degrees", "edges per unit")
def mean_in_degree(part: Part) -> Found:
    """Mean number of edges into the part's units, sources left out. Cost: as `edges`."""
    return summed(part, "in", Histogram.mean)


@metric("degrees", "edges per unit")
def greatest_in_degree(part: Part) -> Found:
    """The greatest number of edges into a unit. Cost: as `edges`."""
    return summed(part, "in", Histogram.greatest)


@metric("degrees", "ratio")
def variation_of_in_degree(part: Part) -> Found:
    """Coefficient of variation of the in-degrees: standard deviation / mean, over the units of `mean_in_degree`.

    Cost: as `edges`.
    """
    return summed(part, "in", Histogram.variation)


@metric("degrees", "ratio")
def gini_of_in_degree(part: Part) -> Found:
    """Gini coefficient of the in-degrees: 0 where all are equal. Cost: as `edges`."""
    return summed(part, "in", Histogram.gini)


@metric("degrees", "edges per unit")
def mean_out_degree(part: Part) -> Found:
    """Mean number of edges out of the part's units, sinks left out. Cost: as `edges`."""
    return summed(part, "out", Histogram.mean)


@metric("degrees", "edges per unit")
def greatest_out_degree(part: Part) -> Found:
    """The greatest number of edges out of a unit. Cost: as `edges`."""
    return summed(part, "out", Histogram.greatest)


@metric("degrees", "ratio")
def variation_of_out_degree(part: Part) -> Found:
    """Coefficient of variation of the out-degrees. Cost: as `edges`."""
    return summed(part, "out", Histogram.variation)


@metric("degrees", "ratio")
def gini_of_out_degree(part: Part) -> Found:
    """Gini coefficient of the out-degrees. Cost: as `edges`."""
    return summed(part, "out", Histogram.gini)


@metric("degrees", "units", of="units")
def hubs(part: Part) -> Found:
    """Units whose degree (in and out) is above the mean of their layer by more than three standard deviations.

    Cost: as `edges`.
    """
    degree, graph = part.in_degrees + part.out_degrees, part.graph
    found = np.zeros(graph.n_units, bool)
    for layer in graph.layers:
        here = slice(layer.start, layer.stop)
        spread = Histogram.of(degree[here][part.units[here]])
        if spread.units:
            found[here] = part.units[here] & (degree[here] > spread.mean() + HUB * spread.deviation())
    return Found.of_units(part, found)


@metric("degrees", "rows")
def live_rows(part: Part) -> Found:
    """Rows of kernels (output features) with a connection of the part. Cost: a pass over the masks."""
    return Found.of_parameters({name: float(np.count_nonzero(each)) for name, each in part.once(fan_ins).items()})


@metric("degrees", "rows", of="live_rows")
def rows_of_the_usual_fan_in(part: Part) -> Found:
    """Rows with a connection whose fan-in is the most frequent one of their parameter: all of them if it is constant.

    Fan-in: the connections of a row of a kernel (Lasby et al. 2024, constant fan-in). Rows without any are left out.
    Cost: a pass over the masks.
    """
    counts = {name: each[each > 0] for name, each in part.once(fan_ins).items()}
    return Found.of_parameters({n: float(np.bincount(c).max()) if c.size else 0.0 for n, c in counts.items()})


@metric("degrees", "connections per row")
def usual_fan_in(part: Part) -> Found:
    """The most frequent fan-in of a parameter's rows that have any. Cost: a pass over the masks."""
    counts = {name: each[each > 0] for name, each in part.once(fan_ins).items()}
    values = {n: float(np.bincount(c).argmax()) if c.size else np.nan for n, c in counts.items()}
    return Found(None, None, values, "no row has a connection")


@metric("degrees", "ratio")
def variation_of_fan_in(part: Part) -> Found:
    """Coefficient of variation of the fan-ins of a parameter's rows, empty rows too. Cost: a pass over the masks."""
    values = {name: _variation(each) if each.any() else np.nan for name, each in part.once(fan_ins).items()}
    return Found(None, None, values, "no row has a connection")


@metric("degrees", "weight per unit")
def strength(part: Part) -> Found:
    """Mean over a parameter's output features of the sum of the absolute weights of their connections.

    Node strength (Cunegatti et al. 2024) with kernels rolled: a weight counts once, not at each position. Cost: a pass
    over the weights.
    """
    values = {}
    for name in part.graph.shapes:
        known, rows = part.graph.weights.get(name), len(part.once(fan_ins)[name])
        if known is None or not rows:
            values[name] = np.nan
            continue
        kept = np.asarray(known).reshape(-1)[part.masks[name].unpack().reshape(-1)]
        values[name] = float(np.abs(kept, dtype=np.float64).sum() / rows)
    return Found(None, None, values, NO_WEIGHTS)


@metric("degrees", "correlation")
def assortativity(part: Part) -> Found:
    """Pearson correlation, over edges, of the out-degree of the origin and the in-degree of the target (Newman 2003).

    By layer: over the edges into it. Undefined where all degrees of one kind are equal. Cost: a pass over the edges.
    """
    graph, ins = part.graph, part.in_degrees
    sums, bounds = np.zeros((3, len(graph.layers)), np.int64), np.asarray([0, *(layer.stop for layer in graph.layers)])
    _add_edges(part.edges.indptr, part.edges.indices, ins, graph.owner, bounds, *sums)
    powers = np.asarray([_powers(ins[layer.start : layer.stop]) for layer in graph.layers]).reshape(-1, 3).T
    layers = np.stack([powers[0], sums[0], sums[1], powers[1], powers[2], sums[2]])
    reason = "all degrees of one kind are equal, or there are no edges"
    return Found(float(_correlation(*layers.sum(1, keepdims=True))[0]), _correlation(*layers), None, reason)


def _powers(degrees: np.ndarray) -> tuple[float, float, float]:
    """The sums of degrees, of their squares and of their cubes."""
    values, counts = Histogram.of(degrees)
    values = values.astype(float)
    return float(values @ counts), float(values**2 @ counts), float(values**3 @ counts)


def fan_ins(part: Part) -> dict[str, np.ndarray]:
    """How many connections of the part each row of a parameter's kernels has; each kernel of a parameter once."""
    return {name: row_sums(part.graph, name, part.masks[name].unpack().reshape(-1)) for name in part.graph.shapes}


def row_sums(graph: LayeredGraph, name: str, flat: np.ndarray) -> np.ndarray:
    """The sums of the rows of a parameter's kernels, over a flat array of its entries; each kernel once."""
    blocks = {block.view: block for block in graph.kernels[name]}.values()
    sums = [block.view.of(flat).sum(2).reshape(-1) for block in blocks]
    return np.concatenate(sums) if sums else np.empty(0, np.int64)


def _variation(values: np.ndarray) -> float:
    mean = values.mean()
    return float(values.std() / mean) if mean else np.nan


def of_units(part: Part, degrees: np.ndarray, summed: Callable[[np.ndarray], float], out: bool = False) -> Found:
    """A summary of a value of the part's units, in all and by layer."""
    counted, graph = part.units.copy(), part.graph
    counted[graph.sinks if out else graph.sources] = False
    of = lambda here: float(summed(here)) if here.size else np.nan
    layers = [of(degrees[layer.start : layer.stop][counted[layer.start : layer.stop]]) for layer in graph.layers]
    return Found(of(degrees[counted]), np.asarray(layers), None, NO_UNITS)


def _correlation(n: Any, x: Any, xx: Any, y: Any, yy: Any, xy: Any) -> np.ndarray:
    """The correlation of x and y by their number and their sums, NaN where one of them does not vary."""
    spread_x, spread_y = n * xx - x * x, n * yy - y * y
    varies = (spread_x > 1e-12 * n * xx) & (spread_y > 1e-12 * n * yy)
    spread = np.sqrt(np.where(varies, spread_x * spread_y, 1))
    return np.where(varies, (n * xy - x * y) / spread, np.nan)


@compiled
def _add_edges(
    starts: Any, indices: Any, ins: Any, owner: Any, bounds: Any, sums: Any, squares: Any, products: Any
) -> None:
    """Add to the layer of each edge's target the out-degree of its origin, its square, and its product with the target's
    in-degree. Almost every unit feeds one layer, so these are added up unit by unit."""
    for u in range(starts.size - 1):
        first, degree = starts[u], np.int64(starts[u + 1] - starts[u])
        while first < starts[u + 1]:
            layer, end, total = owner[indices[first]], starts[u + 1], np.int64(0)
            if indices[end - 1] >= bounds[layer + 1]:  # the targets of a unit ascend by layers
                end = first
                while indices[end] < bounds[layer + 1]:
                    end += 1
            for e in range(first, end):
                total += ins[indices[e]]
            sums[layer] += degree * (end - first)
            squares[layer] += degree * degree * (end - first)
            products[layer] += degree * total
            first = end

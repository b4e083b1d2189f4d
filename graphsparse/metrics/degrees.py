"""Metrics of degrees: how connections are spread over units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, fraction, metric

NO_UNITS, NO_WEIGHTS = "no unit has an edge of this kind", "the weights are not known"
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


@metric("degrees", "units")
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


@metric("degrees", "rows")
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


class Histogram(NamedTuple):
    """Different values, ascending and not negative, and how many ``units`` have each: what a distribution tells, without
    the units themselves."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, degrees: np.ndarray) -> Histogram:
        """The histogram of whole numbers that are not negative."""
        counts = np.bincount(degrees)
        values = np.flatnonzero(counts)
        return cls(values, counts[values])

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(self.counts.sum())

    @property
    def present(self) -> Histogram:
        """The same without the value 0."""
        return Histogram(self.values[self.values > 0], self.counts[self.values > 0])

    def mean(self) -> float:
        """The mean."""
        return float(self.values @ self.counts / self.units)

    def deviation(self) -> float:
        """The standard deviation."""
        return float(np.sqrt((self.values - self.mean()) ** 2 @ self.counts / self.units))

    def least(self) -> float:
        """The least value."""
        return float(self.values[0])

    def greatest(self) -> float:
        """The greatest value."""
        return float(self.values[-1])

    def median(self) -> float:
        """The median; the mean of the two in the middle of an even number."""
        behind, units = np.cumsum(self.counts), self.units
        return float(self.values[np.searchsorted(behind, [(units - 1) // 2, units // 2], "right")].mean())

    def variation(self) -> float:
        """The standard deviation over the mean; NaN where all values are 0."""
        return self.deviation() / self.mean() if self.greatest() else np.nan

    def gini(self) -> float:
        """The Gini coefficient; NaN where all values are 0."""
        if not self.greatest():
            return np.nan
        behind, units = np.cumsum(self.counts), self.units
        ranks = self.counts * (
            2.0 * behind - self.counts - units
        )  # the sum of 2 i - units - 1 over the ranks i of a value
        return float(ranks @ self.values / (units * (self.values @ self.counts)))


def histograms(part: Part, direction: str) -> tuple[Histogram, list[Histogram]]:
    """Of the part's degrees in one direction ("in", "out"): of all units, and of each layer's; "in" without sources, "out"
    without sinks."""
    return part.once(_in_histograms if direction == "in" else _out_histograms)


def _in_histograms(part: Part) -> tuple[Histogram, list[Histogram]]:
    return _histograms(part, part.in_degrees, part.graph.sources)


def _out_histograms(part: Part) -> tuple[Histogram, list[Histogram]]:
    return _histograms(part, part.out_degrees, part.graph.sinks)


def _histograms(part: Part, degrees: np.ndarray, ends: np.ndarray) -> tuple[Histogram, list[Histogram]]:
    counted = part.units.copy()
    counted[ends] = False
    here = [slice(layer.start, layer.stop) for layer in part.graph.layers]
    layers = [Histogram.of(degrees[each][counted[each]]) for each in here]
    total = np.zeros(int(degrees.max(initial=0)) + 1, np.int64)
    for layer in layers:
        total[layer.values] += layer.counts
    values = np.flatnonzero(total)
    return Histogram(values, total[values]), layers


def summed(part: Part, direction: str, summary: Callable[[Histogram], float]) -> Found:
    """A summary of the degrees in one direction, in all and by layer."""
    total, layers = histograms(part, direction)
    of = lambda each: summary(each) if len(each.values) else np.nan
    return Found(of(total), np.asarray([of(each) for each in layers]), None, NO_UNITS)


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
            layer, e, total = owner[indices[first]], first, np.int64(0)
            lowest, end = bounds[layer], bounds[layer + 1]
            while e < starts[u + 1] and lowest <= indices[e] < end:
                total += ins[indices[e]]
                e += 1
            sums[layer] += degree * (e - first)
            squares[layer] += degree * degree * (e - first)
            products[layer] += degree * total
            first = e


usual_fan_in_rows_of_live_rows = fraction(rows_of_the_usual_fan_in, live_rows)

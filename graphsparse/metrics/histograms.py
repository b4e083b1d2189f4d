"""How many units have each degree: what a distribution of degrees tells, by layer and in all."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, Metric

NO_UNITS = "no unit has an edge of this kind"


class Histogram(NamedTuple):
    """The different ``values`` of some units, ascending and not negative, and how many units have each (``counts``)."""

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
        """The median; of an even number of units the mean of the two in the middle."""
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
        )  # of a value the sum of 2 i - units - 1 over its ranks i
        return float(ranks @ self.values / (units * (self.values @ self.counts)))


def summary_row(way: str, name: str, unit: str, summary: Callable[[Histogram], float], text: str) -> Metric:
    """The row of a summary of the degrees in one direction ("in" or "out"), in all and by layer."""

    def function(part: Part) -> Found:
        total, layers = part.once(_histograms, way)
        of = lambda each: summary(each) if each.units else np.nan
        return Found(of(total), np.asarray([of(each) for each in layers]), None, NO_UNITS)

    return Metric(f"{name}_{way}_degree", "degrees", unit, function, f"{text} Cost: as `edges`.")


def _histograms(part: Part, way: str) -> tuple[Histogram, list[Histogram]]:
    """The degrees in one direction: of all units, and of each layer's."""
    degrees, counted = part.degrees(way), part.inner(way)
    here = [slice(layer.start, layer.stop) for layer in part.graph.layers]
    layers = [Histogram.of(degrees[each][counted[each]]) for each in here]
    total = np.zeros(int(degrees.max(initial=0)) + 1, np.int64)
    for layer in layers:
        total[layer.values] += layer.counts
    values = np.flatnonzero(total)
    return Histogram(values, total[values]), layers

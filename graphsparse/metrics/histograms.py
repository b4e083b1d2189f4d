"""How many units have each degree: what a distribution of degrees tells, by layer and in all, without the units themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found

NO_UNITS = "no unit has an edge of this kind"


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

"""The distribution of degrees: how many units have each, its quantiles, and how lognormal and power laws fit it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas

from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.parts import PARTS, Part, Swept
from graphsparse.metrics.table import Found, Metric, library

NO_UNITS = "no unit has an edge of this kind"
NO_LAW = "fewer than three different degrees, or no power law that fits them"
EXPONENTS = [1, 1000]  # powerlaw 2.0 by itself stops at 3
LARGEST_FIT = 1_000_000  # edges: beyond, a fit takes seconds, several times as long as all other rows


class Histogram(NamedTuple):
    """The different ``values`` of some units, ascending and not negative, and how many units have each (``counts``)."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, degrees: np.ndarray, counted: np.ndarray | None = None) -> Histogram:
        """The histogram of whole numbers that are not negative, of all units or of those that are ``counted``."""
        counts = np.zeros(int(degrees.max(initial=-1)) + 1, np.int64)
        _count(degrees, np.broadcast_to(True, degrees.shape) if counted is None else counted, counts)
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


@compiled
def _count(degrees: Any, counted: Any, counts: Any) -> None:
    for u in range(degrees.size):
        counts[degrees[u]] += counted[u]


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
    layers = [Histogram.of(degrees[each], counted[each]) for each in here]
    total = np.zeros(int(degrees.max(initial=0)) + 1, np.int64)
    for layer in layers:
        total[layer.values] += layer.counts
    values = np.flatnonzero(total)
    return Histogram(values, total[values]), layers


def degree_counts(graph: LayeredGraph) -> pandas.DataFrame:
    """The distribution of degrees: a row per layer, direction ("in", "out") and degree that some unit has.

    Columns ``layer``, ``direction``, ``degree``, and ``kept`` and ``active``: how many of the part's units of the layer have
    so many edges in that direction.

    Example:
        >>> import torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(2, 3), torch.zeros(1, 2), {"weight": [[True, True], [True, False], [False, False]]})
        >>> degree_counts(graph)[["direction", "degree", "kept"]].values.tolist()[-4:]
        [['in', 0, 1], ['in', 1, 1], ['in', 2, 1], ['out', 0, 3]]
    """
    swept, rows = Swept(checked_graph(graph)), []
    parts = [Part(swept, name) for name in PARTS]
    for layer in swept.graph.layers:
        here = slice(layer.start, layer.stop)
        for direction in ("in", "out"):
            counts = [np.bincount(part.degrees(direction)[here][part.units[here]]) for part in parts]
            size = max(map(len, counts))
            table = np.stack([np.pad(each, (0, size - len(each))) for each in counts], 1)
            rows += [(layer.name, direction, d, *table[d].tolist()) for d in np.flatnonzero(table.any(1)).tolist()]
    return pandas.DataFrame(rows, columns=["layer", "direction", "degree", *PARTS])


class PowerLaw(NamedTuple):
    """A power law's exponent and the least degree from which it holds; how it compares with a lognormal law from there."""

    exponent: float = np.nan
    least: float = np.nan
    over_lognormal: float = np.nan
    chance: float = np.nan


def power_law(degrees: np.ndarray) -> PowerLaw:
    """The power law that fits degrees best above some degree (Clauset, Shalizi and Newman 2009), by the library powerlaw.

    NaN where there are fewer than three different degrees, or where powerlaw says that no fit is valid. Raises
    `MissingExtra` where powerlaw is not installed.
    """
    powerlaw = library("powerlaw", "topology")
    degrees = degrees[degrees > 0]
    if len(np.unique(degrees)) < 3:
        return PowerLaw()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fit = powerlaw.Fit(degrees, discrete=True, parameter_ranges={"alpha": EXPONENTS}, verbose=False)
        if fit.noise_flag:
            return PowerLaw()
        ratio, chance = fit.distribution_compare("power_law", "lognormal", normalized_ratio=True)
    return PowerLaw(float(fit.power_law.alpha), float(fit.power_law.xmin), float(ratio), float(chance))


def _fitted(part: Part, way: str) -> PowerLaw:
    return power_law(part.degrees(way)[part.inner(way)])


def _law(way: str, name: str, unit: str, field: str, text: str) -> Metric:
    """A row of the power law of the degrees in one direction."""
    text = f"""{text} Of the {way}-degrees of all units that have one, {"sources" if way == "in" else "sinks"} left out.

    Clauset, Shalizi and Newman (2009, SIAM Review 51), by the library powerlaw, for discrete values. Cost: a fit for every
    degree that occurs; a second for some hundred, shared by the rows of power laws.
    """
    function = lambda part: Found(getattr(part.once(_fitted, way), field), undefined=NO_LAW)
    return Metric(f"power_law_{name}_of_{way}_degree", "degrees", unit, function, text, LARGEST_FIT)


def _logs(summary: Callable[[Histogram], float]) -> Callable[[Histogram], float]:
    """A summary of the logarithms of the degrees that are not 0; NaN where all are 0."""
    of = lambda some: summary(Histogram(np.log(some.values), some.counts)) if some.units else np.nan
    return lambda degrees: of(degrees.present)


def _rows(way: str) -> tuple[Metric, ...]:
    summaries = (
        ("least", "edges per unit", Histogram.least, f"The least {way}-degree of the units of `mean_{way}_degree`."),
        ("median", "edges per unit", Histogram.median, f"The median {way}-degree of the units of `mean_{way}_degree`."),
        ("lognormal_mean_of", "log of edges per unit", _logs(Histogram.mean),
         f"Parameter mu of the lognormal law that fits the {way}-degrees best: the mean of their natural logarithms, "
         "units without edges left out."),
        ("lognormal_spread_of", "log of edges per unit", _logs(Histogram.deviation),
         f"Parameter sigma of the lognormal law that fits the {way}-degrees best: the standard deviation of their "
         "natural logarithms, units without edges left out."),
    )  # fmt: skip
    laws = (
        ("exponent", "exponent", "exponent", "Exponent alpha of the power law degree ** -alpha that fits best."),
        ("start", "edges per unit", "least", "The least degree from which the power law holds (xmin)."),
        ("over_lognormal", "log likelihood ratio", "over_lognormal",
         "How much better the power law fits than a lognormal law from its start on: the log of the ratio of their "
         "likelihoods, over its standard deviation; negative where the lognormal law is better."),
        ("chance", "probability", "chance",
         f"The p-value of the sign of `power_law_over_lognormal_of_{way}_degree`: a sign is meant below 0.1."),
    )  # fmt: skip
    return (*(summary_row(way, *row) for row in summaries), *(_law(way, *row) for row in laws))


ROWS = _rows("in") + _rows("out")

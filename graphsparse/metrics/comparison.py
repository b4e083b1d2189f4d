"""Two or more masks of one network side by side: what they share, what each has alone, and how far apart they are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
import pandas

from graphsparse.errors import ArgumentError, MaskError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.kernels.masks import Mask
from graphsparse.measures.tables import plain_rows, table, write_csv
from graphsparse.metrics import overlap
from graphsparse.metrics.matching import Rows
from graphsparse.metrics.overlap import Pair
from graphsparse.metrics.parts import PARTS, Part, Swept
from graphsparse.metrics.table import Metric, chosen, table_of
from graphsparse.metrics.topology import rows_of_metric

TABLE: Mapping[str, Metric] = table_of([overlap])
"""Every metric of two masks by name. `Metric.definition` says what it is, whose definition, and what it costs."""

ORDERS: Mapping[str, Callable[[int], Iterable[tuple[int, int]]]] = {
    "all": lambda n: combinations(range(n), 2),
    "next": lambda n: ((i, i + 1) for i in range(n - 1)),
    "first": lambda n: ((0, i) for i in range(1, n)),
}
COLUMNS = ["one", "other", "metric", "unit", "scope", "place", *PARTS, "undefined"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two or more masks of one network have in common.

    ``frame`` has a row per pair of mask sets (``one`` and ``other``), metric, scope ("all", "layer", "parameter") and
    place: the values ``kept`` and ``active``, the unit, and why a value is NaN. ``ever`` has a row per parameter, and one
    named "all": its connections, those that any set keeps or has active, and both as a share of the connections
    (in-time over-parameterisation, ITOP; Liu et al., ICML 2021).
    """

    frame: pandas.DataFrame = field(repr=False)
    ever: pandas.DataFrame = field(repr=False)
    names: tuple[str, ...] = ()

    @property
    def total(self) -> pandas.DataFrame:
        """A row per pair and metric, in all: unit, kept, active, undefined."""
        return self._of("all").droplevel("all")

    @property
    def parameters(self) -> pandas.DataFrame:
        """A row per pair, metric and parameter."""
        return self._of("parameter")

    @property
    def layers(self) -> pandas.DataFrame:
        """A row per pair, metric and layer."""
        return self._of("layer")

    def _of(self, scope: str) -> pandas.DataFrame:
        rows = self.frame[self.frame["scope"] == scope].rename(columns={"place": scope})
        return rows.set_index(["one", "other", "metric", scope])[["unit", *PARTS, "undefined"]]

    def matrix(self, metric: str, part: str = "kept") -> pandas.DataFrame:
        """A metric in all as a square table of the mask sets, ``one`` down and ``other`` across; NaN where not compared."""
        found = self.total.xs(metric, level="metric")[part].unstack("other")
        return found.reindex(index=list(self.names), columns=list(self.names))

    def __repr__(self) -> str:
        pairs = len(self.frame[["one", "other"]].drop_duplicates())
        return f"Comparison({len(self.names)} mask sets, {pairs} pairs, {len(TABLE)} metrics; .total .parameters .layers .ever)"

    def _repr_html_(self) -> str:
        return table("Comparison", [repr(self)], self.total.reset_index())

    def to_dict(self) -> dict[str, Any]:
        """Plain values: rows as in ``frame`` under "pairs", as in ``ever`` under "ever"; NaN is None."""
        both = {"pairs": self.frame, "ever": self.ever.reset_index()}
        return {key: plain_rows(frame.to_dict("records")) for key, frame in both.items()}

    def to_json(self) -> str:
        """All as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The frame as CSV text, also written to a file where a path is given."""
        return write_csv(self.frame, path)


def compare_masks(
    graph: LayeredGraph,
    mask_sets: Mapping[str, Mapping[str, Any]] | Iterable[Mapping[str, Any]],
    metrics: Iterable[str] | None = None,
    *,
    pairs: str = "all",
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare two or more masks of one network, kept and active: overlap, what each has alone, topological distance.

    Args:
        graph: as `graphsparse.export` gives it; the network is captured once, and its own masks do not matter.
        mask_sets: ``{name: masks}`` or a list of masks, which are then named "0", "1", ...; masks as for
            `graphsparse.LayeredGraph.with_masks`.
        metrics: names of metrics (see `graphsparse.metrics.comparison.TABLE`); by default all.
        pairs: "all"; "next", each set with the one after it; "first", each with the first.
        progress: called with (pairs done, pairs in all).

    Returns:
        `Comparison`: a frame with every value for what is kept and for what is active.

    Raises:
        ArgumentError: fewer than two sets, or a name of a metric or of pairs that is none. MaskError: masks that do not fit.

    Example:
        >>> import torch
        >>> from graphsparse.capture import export
        >>> graph = export(torch.nn.Linear(2, 2, bias=False), torch.zeros(1, 2), {})
        >>> before, after = [[True, True], [False, True]], [[True, False], [True, True]]
        >>> found = compare_masks(graph, {"before": {"weight": before}, "after": {"weight": after}})
        >>> float(found.total.loc[("before", "after", "intersection_over_union"), "kept"])
        0.5
        >>> found.ever.loc["all", "ever_kept"].item()
        4
    """
    graph = checked_graph(graph)
    sets = _named(mask_sets)
    wanted = chosen(TABLE, metrics, (), "a metric must be one of the comparison's", f"use {', '.join(TABLE)}")
    if pairs not in ORDERS:
        raise ArgumentError("pairs must be all, next or first", place="pairs", received=pairs)
    names, rows = tuple(sets), Rows(graph)
    swept = (Swept(_under(graph, name, masks)) for name, masks in sets.items())
    parts = [[Part(each, part) for part in PARTS] for each in swept]
    found: list[tuple[Any, ...]] = []
    order = list(ORDERS[pairs](len(names)))
    for done, (i, j) in enumerate(order):
        both: list[Any] = [Pair(one, other, rows) for one, other in zip(parts[i], parts[j], strict=True)]
        for metric in wanted:  # asked of two pairs as a metric of `topology` is of two parts
            for name, _, *rest in rows_of_metric(metric, [metric(pair) for pair in both], graph):
                found.append((names[i], names[j], name, *rest))
        if progress is not None:
            progress(done + 1, len(order))
    return Comparison(pandas.DataFrame(found, columns=COLUMNS), _ever(graph, parts), names)


def _named(mask_sets: Any) -> dict[str, Mapping[str, Any]]:
    given = mask_sets if isinstance(mask_sets, Iterable) else ()
    given = given if isinstance(given, Mapping) else {str(n): masks for n, masks in enumerate(given)}
    sets = {str(name): masks for name, masks in given.items()}
    if len(sets) < 2:
        raise ArgumentError(
            "two mask sets or more must be given to be compared", place="mask_sets",
            received=len(sets) if isinstance(mask_sets, Iterable) else repr(mask_sets),
            way_out="give {name: masks} or a list of masks",
        )  # fmt: skip
    return sets


def _under(graph: LayeredGraph, name: str, masks: Mapping[str, Any]) -> LayeredGraph:
    try:
        return graph.with_masks(masks)
    except MaskError as error:
        place = f"mask set {name}" + (f", {error.place}" if error.place else "")
        raise MaskError(error.rule, place=place, received=error.received, way_out=error.way_out) from error


def _ever(graph: LayeredGraph, parts: list[list[Part]]) -> pandas.DataFrame:
    """How many connections of each parameter any set keeps, or has active."""
    found: dict[str, list[int]] = {"connections": [int(np.prod(shape)) for shape in graph.shapes.values()]}
    for number, name in enumerate(PARTS):
        masks = [each[number].masks for each in parts]
        found[f"ever_{name}"] = [reduce(Mask.either, [each[key] for each in masks]).count() for key in graph.shapes]
    frame = pandas.DataFrame(found, index=pandas.Index(list(graph.shapes), name="parameter"))
    frame.loc["all"] = frame.sum()
    every = frame["connections"].where(frame["connections"] > 0)
    return frame.assign(**{f"ever_{name}_of_connections": frame[f"ever_{name}"] / every for name in PARTS})

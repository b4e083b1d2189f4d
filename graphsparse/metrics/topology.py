"""Every metric of a graph, for what is kept and for what is active, side by side."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas

from graphsparse.errors import ArgumentError, MissingExtra
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.names import metric_names, suggestion
from graphsparse.measures.tables import plain_rows, table, write_csv
from graphsparse.metrics import (
    bipartite,
    bridges,
    communities,
    degrees,
    expansion,
    experts,
    fits,
    fragility,
    heads,
    liveness,
    paths,
    patterns,
    persistence,
    reasons,
    regrowth,
)
from graphsparse.metrics.encodings import check_encoding, with_weights
from graphsparse.metrics.parts import PARTS, Part, Swept
from graphsparse.metrics.table import Found, Metric, chosen, table_of

FAMILIES = (
    liveness, heads, experts, reasons, regrowth, paths, degrees, fits, fragility, bridges, patterns, bipartite,
    communities, expansion, persistence,
)  # fmt: skip
TABLE: Mapping[str, Metric] = table_of(FAMILIES)
"""Every metric by name. `Metric.definition` says what it counts, whose definition it is, and what it costs."""

SCOPES = ("all", "layer", "parameter")
COLUMNS = ["metric", "group", "unit", "scope", "place", *PARTS, "undefined"]


@dataclass(frozen=True, eq=False)
class Topology:
    """What the metrics of a graph are.

    ``frame`` has a row per metric, scope ("all", "layer", "parameter") and place (the name of the layer or parameter):
    the values ``kept`` (the graph as it is) and ``active`` (what lies on source-sink paths), the unit, and why a value
    is NaN. ``total``, ``layers`` and ``parameters`` show one scope each.
    """

    frame: pandas.DataFrame = field(repr=False)
    layer_names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def total(self) -> pandas.DataFrame:
        """A row per metric, in all: group, unit, kept, active, undefined."""
        rows = self.frame[self.frame["scope"] == "all"].set_index("metric")
        return rows[["group", "unit", *PARTS, "undefined"]]

    @property
    def layers(self) -> pandas.DataFrame:
        """A row per layer, columns (metric, part)."""
        return self._wide("layer")

    @property
    def parameters(self) -> pandas.DataFrame:
        """A row per parameter, columns (metric, part)."""
        return self._wide("parameter")

    def _wide(self, scope: str) -> pandas.DataFrame:
        rows = self.frame[self.frame["scope"] == scope]
        wide = {
            (name, part): dict(zip(found["place"], found[part]))
            for name, found in rows.groupby("metric", sort=False)
            for part in PARTS
        }
        columns = pandas.MultiIndex.from_tuples(list(wide), names=["metric", "part"])
        return pandas.DataFrame(wide, columns=columns).rename_axis(scope)

    def __getitem__(self, metric: str) -> pandas.DataFrame:
        """The rows of one metric: scope, place, kept, active, undefined."""
        there = self.frame["metric"].unique().tolist()
        if not isinstance(metric, str) or metric not in there:
            raise ArgumentError(
                "a metric must be one of those that were found", place="metric", received=metric,
                way_out=f"{suggestion(metric, there)}name one of {', '.join(there[:8])}{' ...' if len(there) > 8 else ''}",
            )  # fmt: skip
        found = self.frame[self.frame["metric"] == metric]
        return found[["scope", "place", *PARTS, "undefined"]].reset_index(drop=True)

    def __repr__(self) -> str:
        names = self.frame["metric"].unique()
        undefined = int(self.frame[list(PARTS)].isna().any(axis=1).sum())
        return (
            f"Topology({len(names)} metrics, {len(self.frame)} rows, {undefined} undefined; .total .layers .parameters)"
        )

    def _repr_html_(self) -> str:
        return table("Topology", [repr(self)], self.total)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: under "metrics" a list of rows as in ``frame``; NaN and infinity are None."""
        return {"metrics": plain_rows(self.frame.to_dict("records"))}

    def to_json(self) -> str:
        """The rows as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The frame as CSV text, also written to a file where a path is given."""
        return write_csv(self.frame, path)


def topology(
    graph: LayeredGraph,
    metrics: Iterable[str] | None = None,
    *,
    encoding: str = "channel",
    weights: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Topology:
    """Find what the shape of a pruned network is, from what is dead and why to expansion and persistence.

    Args:
        graph: as `graphsparse.export` gives it, under the masks that are asked about.
        metrics: names of metrics or of groups (see `graphsparse.metrics.topology.TABLE`); by default all.
        encoding: how metrics of a layer's bipartite graph see a kernel: "channel", "rolled" or "unrolled" (see
            `graphsparse.biadjacency`).
        weights: ``{parameter name: tensor or array}`` in place of the graph's own weights; a parameter that is not among
            them has none then. Without weights, metrics of weights are NaN.
        progress: called with (metrics done, metrics in all).

    Returns:
        `Topology`: a frame with every value for what is kept and for what is active. An undefined value is NaN, with its
        reason beside it.

    Raises:
        ArgumentError: a metric that is not in the table, or an encoding that the graph does not have. MaskError: a weight
        that does not fit. MissingExtra: a metric that is named needs a library that is not installed (in a group or among
        all metrics it is NaN, with that reason). GraphsparseError: what is given is no graph.

    Example:
        >>> import torch
        >>> from graphsparse.capture import export
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> topology(export(layers, torch.zeros(1, 2), masks), ["stranded"]).total["kept"].to_dict()
        {'stranded': 1.0}
    """
    graph = checked_graph(graph)
    check_encoding(encoding, graph)
    swept = Swept(graph if weights is None else with_weights(replace(graph, weights={}), weights), encoding)
    parts = [Part(swept, name) for name in PARTS]
    rows: list[tuple[Any, ...]] = []
    names = metric_names(metrics)
    wanted = check_metrics(names)
    for done, metric in enumerate(wanted):
        rows += rows_of_metric(metric, _found(metric, parts, named=metric.name in (names or ())), swept.graph)
        if progress is not None:
            progress(done + 1, len(wanted))
    return Topology(pandas.DataFrame(rows, columns=COLUMNS), layer_names(swept.graph))


def _found(metric: Metric, parts: list[Part], *, named: bool) -> list[Found]:
    """What a metric is of both parts. Where its name was not given, it may also be too dear, or lack its library."""
    if not named and metric.limit is not None and parts[0].edges.nnz > metric.limit:
        return [Found(np.nan, undefined=f"more than {metric.limit:,} edges: ask for it by its name")] * len(parts)
    try:
        return [metric(part) for part in parts]
    except MissingExtra as error:
        if named:
            raise
        return [Found(np.nan, undefined=f"{error.rule}: {error.way_out}")] * len(parts)


def check_metrics(metrics: Iterable[str] | None) -> list[Metric]:
    """The rows of the table that are asked for. Raises ArgumentError for a name that is no metric's and no group's."""
    groups = list(dict.fromkeys(row.group for row in TABLE.values()))
    rule = "a metric must be one of the table, or a group of it"
    return chosen(TABLE, metrics, groups, rule, f"name one of the groups {', '.join(groups)}")


def rows_of_metric(metric: Metric, found: list[Found], graph: LayeredGraph) -> Iterator[tuple[Any, ...]]:
    """The rows of a metric: in all, then by layer, then by parameter, as far as it has them."""
    first = found[0]
    places: list[tuple[str, str, list[float | None]]] = []
    if first.total is not None:
        places.append(("all", "", [each.total for each in found]))
    if first.layers is not None:
        by_layer = np.stack([np.asarray(each.layers, float) for each in found], 1).tolist()
        places += [("layer", name, values) for name, values in zip(layer_names(graph), by_layer, strict=True)]
    if first.parameters is not None:
        names = list(first.parameters)
        places += [("parameter", name, [(each.parameters or {}).get(name, np.nan) for each in found]) for name in names]
    for scope, place, values in places:
        reason = next(
            (each.undefined for each, value in zip(found, values) if value is not None and np.isnan(value)), ""
        )
        yield (metric.name, metric.group, metric.unit, scope, place, *values, reason)


def layer_names(graph: LayeredGraph) -> tuple[str, ...]:
    """A name for each layer, its own; with the layer's number where several have one name."""
    names = [layer.name for layer in graph.layers]
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({n})" for n, name in enumerate(names))

"""Fragility: the minimum cut, the connections with whom most dies, the widest path; in words, and drawn on the flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphsparse.algebras import MAX_MIN_64
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.cuts import cut_of
from graphsparse.metrics.fragility import dominators_of, minimum_cut
from graphsparse.metrics.parts import Swept
from graphsparse.metrics.steps import Steps, witness
from graphsparse.metrics.topology import layer_names
from graphsparse.pages.render import count, share
from graphsparse.pages.sections import Alert, Section, few
from graphsparse.reports.page.details import place_of
from graphsparse.reports.page.fine import edges_at_most
from graphsparse.sweep import sweep

LARGEST = 3_000_000
"""Edges up to which dominators are found for a page."""
LISTED = 10
"""Edges and units that a table lists."""


@dataclass(frozen=True)
class Finding:
    """One way of being fragile: a sentence, the edges (pairs of unit ids) that the flow shows, rows of a table
    whose first ``names`` columns hold names."""

    key: str
    title: str
    text: str
    pairs: Sequence[tuple[int, int]] = ()
    columns: Sequence[str] = ()
    names: int = 1
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Fragility:
    """What was found, alerts of single points of failure, and why something was left out."""

    findings: tuple[Finding, ...] = ()
    alerts: tuple[Alert, ...] = ()
    missing: str = ""

    def on_flow(self, graph: LayeredGraph) -> dict[str, Any]:
        """What the flow draws: for each finding its edges, between layers and between units."""
        owner = graph.owner
        return {
            each.key: {"title": each.title, "units": [list(pair) for pair in each.pairs],
                       "pairs": sorted({(int(owner[a]), int(owner[b])) for a, b in each.pairs})}
            for each in self.findings if each.pairs
        }  # fmt: skip

    def section(self) -> Section:
        """The findings as a section."""
        return Section("fragility", "Fragility", {"findings": self.findings, "missing": self.missing})


def fragility(swept: Swept, magnitudes: Mapping[str, np.ndarray] | None = None) -> Fragility:
    """What is fragile in the active part of a graph; ``magnitudes`` are absolute weights, for the widest path."""
    most = edges_at_most(swept.graph)
    if not swept.live.any():
        return Fragility(missing="There is no path from an input to an output, so there is nothing left to lose.")
    if most > LARGEST:
        return Fragility(
            missing=f"Left out: the graph has up to {count(most)} edges, more than {count(LARGEST)}. "
            "The command graphsparse topology --metric fragility finds it, given time."
        )
    name = _namer(swept.graph)
    findings = [_cut(swept), _retained(swept, name)]
    if magnitudes is not None:
        findings.append(_widest(swept, magnitudes, name))
    return Fragility(tuple(filter(None, findings)), tuple(_single_points(swept, name)))


def _namer(graph: LayeredGraph) -> Callable[[int], str]:
    names = layer_names(graph)
    return lambda unit: f"{names[graph.owner[unit]]}[{unit - graph.layer_of(unit).start}]"


def _cut(swept: Swept) -> Finding | None:
    if minimum_cut.limit is not None and swept.edges["active"].nnz > minimum_cut.limit:
        return None
    found = swept.once(cut_of)
    if math.isnan(found.size):
        text = "Wires alone join an input to an output: no loss of connections cuts the network."
        return Finding("cut", "Minimum cut", text)
    pairs = list(zip(found.sources.tolist(), found.targets.tolist(), strict=True))
    names = layer_names(swept.graph)
    layers, numbers = np.unique(swept.graph.owner[found.targets], return_counts=True)
    rows = [(names[layer], count(number)) for layer, number in zip(layers, numbers)]
    text = f"{count(found.size)} connections are the fewest whose loss leaves no path from an input to an output."
    return Finding("cut", "Minimum cut", text, pairs[:20_000], ("into the layer", "edges of the cut"), 1, rows)


def _retained(swept: Swept, name: Callable[[int], str]) -> Finding | None:
    found = swept.once(dominators_of)
    if not found.edges.nnz:
        return None
    lost = found.retained_by_edges
    order = np.argsort(-lost, kind="stable")[:LISTED]
    origins = np.searchsorted(found.edges.indptr, order, side="right") - 1
    pairs = list(zip(origins.tolist(), found.edges.indices[order].tolist(), strict=True))
    total, most = found.edges.nnz, lost[order].tolist()
    rows = [(name(a), name(b), count(each), share(each / total)) for (a, b), each in zip(pairs, most)]
    text = f"The loss of one edge takes up to {count(most[0])} of {count(total)} active edges with it, itself included."
    return Finding("retained", "Most retained", text, pairs, ("from", "to", "edges that die", "of all"), 2, rows)


def _single_points(swept: Swept, name: Callable[[int], str]) -> Iterator[Alert]:
    """Units inside the network through which every path goes."""
    graph = swept.graph
    units, _ = swept.once(dominators_of).unavoidable(graph.sinks)
    ends = np.unique(graph.owner[np.concatenate([graph.sources, graph.sinks])])
    alerts = [
        Alert("warning", f"Every path from an input to an output goes through unit {name(unit)}.", "#fragility")
        for unit in units.tolist() if graph.owner[unit] not in ends
    ]  # fmt: skip
    yield from few(alerts, "units through which every path goes", "#fragility")


def _widest(swept: Swept, magnitudes: Mapping[str, np.ndarray], name: Callable[[int], str]) -> Finding | None:
    """The path whose least weight is greatest, found again among the connections that are at least as large."""
    graph = swept.graph
    weights = {
        key: np.where(graph.kept[key].unpack() & ~np.isnan(each), each, -np.inf).astype(np.float64)
        for key, each in magnitudes.items()
    }
    found = sweep(graph, weights, MAX_MIN_64)
    width = float(found.signal[graph.sinks].max(initial=-np.inf))
    if not math.isfinite(width):
        return None
    wide = replace(graph, masks={**graph.masks, **{key: Mask.of(each >= width) for key, each in weights.items()}})
    strong = Swept(wide)
    sink = next((unit for unit in graph.sinks.tolist() if strong.live[unit]), None)
    if sink is None:
        return None
    steps = witness(strong, Steps(wide), sink)
    rows = []
    for step in steps:
        by = ("", "")  # a wire
        if step.parameter is not None:
            place = place_of(step.parameter, step.entry, graph.shapes[step.parameter])
            by = (place, f"{weights[step.parameter].flat[step.entry]:.4g}")
        rows.append((name(step.source), name(step.target), *by))
    text = f"The path whose least absolute weight is greatest: {width:.4g}. A threshold above it leaves nothing."
    pairs = [(step.source, step.target) for step in steps]
    return Finding("path", "Widest path", text, pairs, ("from", "to", "by", "absolute weight"), 3, rows)

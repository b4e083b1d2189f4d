"""Metrics of the reasons: at which layer kept connections lose their way to a source or to a sink."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphsparse.kernels.compiling import compiled
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric


@metric("why", "edges")
def cut_from_sources(part: Part) -> Found:
    """Edges whose origin no source reaches, by the layer where their way back ends: the earliest that leads to them.

    So many edges lie dead behind the masks in front of that layer's units. Cost: a pass over the edges.
    """
    return _by_layer(part, *part.once(_ends), upstream=True)


@metric("why", "edges")
def cut_from_sinks(part: Part) -> Found:
    """Edges that a source reaches and whose target reaches no sink, by the layer where their way on ends: the latest.

    The masks behind that layer's units cut them. Cost: a pass over the edges.
    """
    return _by_layer(part, *part.once(_ends), upstream=False)


@metric("why", "edges")
def stopped_at_a_product(part: Part) -> Found:
    """Operands of products that a source reaches, whose product reaches a sink, and whose other operand is zero.

    By the layer of the product. Cost: a pass over the edges.
    """
    found, both = part.swept.liveness, np.zeros(part.graph.n_units, np.int64)
    if not part.graph.gated:
        return Found.of_units(part, both)
    _lively(part.edges.indptr, part.edges.indices, found.signal, found.reaches, both)
    return Found.of_units(part, both - part.swept.in_degrees["active"])


def _ends(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Of each unit the earliest layer that leads to it along kept edges, and the latest that it leads to."""
    earliest = part.graph.owner.astype(np.int32)
    latest = earliest.copy()
    edges = part.swept.conducting if part.graph.gated else part.edges  # a zero operand lets nothing through
    _spread(edges.indptr, edges.indices, earliest, latest)
    return earliest, latest


@compiled
def _spread(starts: Any, indices: Any, earliest: Any, latest: Any) -> Any:
    for u in range(starts.size - 1):  # every edge leads to a greater id
        for e in range(starts[u], starts[u + 1]):
            earliest[indices[e]] = min(earliest[indices[e]], earliest[u])
    for u in range(starts.size - 2, -1, -1):
        for e in range(starts[u], starts[u + 1]):
            latest[u] = max(latest[u], latest[indices[e]])


def _by_layer(part: Part, earliest: np.ndarray, latest: np.ndarray, *, upstream: bool) -> Found:
    found, counts = part.swept.liveness, np.zeros(len(part.graph.layers), np.int64)
    if upstream:
        np.add.at(counts, earliest, np.where(found.signal, 0, part.out_degrees))
    else:
        _cut_behind(part.edges.indptr, part.edges.indices, found.signal, found.reaches, latest, counts)
    return Found(float(counts.sum()), counts.astype(float))


@compiled
def _lively(starts: Any, indices: Any, signal: Any, reaches: Any, counts: Any) -> Any:
    for u in range(starts.size - 1):
        if signal[u]:
            for e in range(starts[u], starts[u + 1]):
                counts[indices[e]] += reaches[indices[e]]


@compiled
def _cut_behind(starts: Any, indices: Any, signal: Any, reaches: Any, latest: Any, counts: Any) -> Any:
    for u in range(starts.size - 1):
        if signal[u]:
            for e in range(starts[u], starts[u + 1]):
                if not reaches[indices[e]]:
                    counts[latest[indices[e]]] += 1

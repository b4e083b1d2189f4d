"""The graph in the libraries that people already use: networkx and igraph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphsparse.errors import MissingExtra
from graphsparse.exports.edges import Edges, Rows
from graphsparse.graph import LayeredGraph

if TYPE_CHECKING:
    import igraph
    import networkx


def to_networkx(graph: LayeredGraph) -> networkx.DiGraph:
    """Nodes are unit ids with "layer" (the rank), "name" (the layer's name) and "active"; edges have "weight",
    "parameter" and "active"."""
    import networkx  # takes half a second

    edges, result = Edges(graph), networkx.DiGraph()
    for layer in graph.layers:
        live = edges.live[layer.start : layer.stop].tolist()
        for unit, active in enumerate(live, layer.start):
            result.add_node(unit, layer=layer.rank, name=layer.name, active=active)
    for rows in edges:
        columns = rows.sources.tolist(), rows.targets.tolist(), rows.weights.tolist(), _named(edges, rows), rows.active.tolist()  # fmt: skip
        result.add_edges_from(
            (u, v, {"weight": w, "parameter": p, "active": a}) for u, v, w, p, a in zip(*columns, strict=True)
        )
    return result


def to_igraph(graph: LayeredGraph) -> igraph.Graph:
    """Vertices are unit ids with "layer" (the rank), "part" (the layer's name) and "active"; edges have "weight",
    "parameter" and "active"."""
    try:
        import igraph
    except ImportError as error:
        raise MissingExtra(
            "igraph must be installed for a graph of igraph", way_out="pip install 'graphsparse[igraph]'"
        ) from error
    edges = Edges(graph)
    parts = list(edges)
    every = np.concatenate([np.stack([rows.sources, rows.targets], 1) for rows in parts] or [np.empty((0, 2), int)])
    result = igraph.Graph(n=graph.n_units, edges=every, directed=True)
    result.vs["layer"] = [layer.rank for layer in graph.layers for _ in range(len(layer))]
    result.vs["part"] = [layer.name for layer in graph.layers for _ in range(len(layer))]
    result.vs["active"] = edges.live.tolist()
    result.es["weight"] = [weight for rows in parts for weight in rows.weights.tolist()]
    result.es["parameter"] = [name for rows in parts for name in _named(edges, rows)]
    result.es["active"] = [active for rows in parts for active in rows.active.tolist()]
    return result


def _named(edges: Edges, rows: Rows) -> list[str | None]:
    """The name of each edge's parameter; -1, a wire's, finds None at the end."""
    names = [*edges.names, None]
    return [names[number] for number in rows.parameters.tolist()]

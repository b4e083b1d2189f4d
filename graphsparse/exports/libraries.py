"""The graph in the libraries that people already use: networkx and igraph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphsparse.errors import MissingExtra
from graphsparse.exports.edges import Edges, together
from graphsparse.graph import LayeredGraph

if TYPE_CHECKING:
    import igraph
    import networkx


def to_networkx(graph: LayeredGraph) -> networkx.DiGraph:
    """Nodes are unit ids with "layer" (the rank), "name" (the layer's name) and "active"; edges have "weight",
    "parameter" and "active"."""
    import networkx  # takes half a second

    edges, result = Edges(graph), networkx.DiGraph()
    names = [*edges.names, None]  # the last for -1, which is a wire
    for layer in graph.layers:
        live = edges.live[layer.start : layer.stop].tolist()
        for unit, active in enumerate(live, layer.start):
            result.add_node(unit, layer=layer.rank, name=layer.name, active=active)
    for rows in edges:
        result.add_edges_from(
            (u, v, {"weight": w, "parameter": names[p], "active": a}) for u, v, w, p, a in rows.listed()
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
    rows, names = together(edges), [*edges.names, None]  # the last for -1, which is a wire
    result = igraph.Graph(n=graph.n_units, edges=np.stack([rows.sources, rows.targets], 1), directed=True)
    result.vs["layer"] = [layer.rank for layer in graph.layers for _ in range(len(layer))]
    result.vs["part"] = [layer.name for layer in graph.layers for _ in range(len(layer))]
    result.vs["active"] = edges.live.tolist()
    result.es["weight"] = rows.weights.tolist()
    result.es["parameter"] = [names[number] for number in rows.parameters.tolist()]
    result.es["active"] = rows.active.tolist()
    return result

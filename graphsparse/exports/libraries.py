"""The graph in the libraries that people already use: networkx, igraph, and pyarrow for Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from graphsparse.errors import needs_extra
from graphsparse.exports.edges import WIRE, Edges, Progress, together
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
    with needs_extra("igraph", "igraph must be installed for a graph of igraph"):
        import igraph
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


def write_parquet(file: BinaryIO, graph: LayeredGraph, progress: Progress) -> None:
    """A row per edge: source, target, weight, parameter (null for wires), layer (the target's) and active."""
    with needs_extra("parquet", "a parquet file needs pyarrow"):
        import pyarrow
        from pyarrow import parquet
    edges, names = Edges(graph, progress), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    schema = pyarrow.schema({
        "source": pyarrow.int32(), "target": pyarrow.int32(), "weight": pyarrow.float64(), "parameter": names, "layer": names,
        "active": pyarrow.bool_(),
    })  # fmt: skip
    parameters, layers = (pyarrow.array([_text(each) for each in found], pyarrow.string())
                          for found in (edges.names, [layer.name for layer in graph.layers]))  # fmt: skip
    with parquet.ParquetWriter(file, schema) as writer:
        for number, rows in enumerate(edges):
            wires = pyarrow.array(rows.parameters, mask=rows.parameters == WIRE)
            places = np.full(len(rows.sources), number, np.int32)
            columns = [
                rows.sources.astype(np.int32), rows.targets.astype(np.int32), rows.weights,
                pyarrow.DictionaryArray.from_arrays(wires, parameters), pyarrow.DictionaryArray.from_arrays(places, layers), rows.active,
            ]  # fmt: skip
            writer.write_table(pyarrow.table(columns, schema=schema))


def _text(name: str) -> str:
    """The name as UTF-8 can hold it: surrogates, which are halves of characters, are written out."""
    return name.encode("utf-8", "backslashreplace").decode()

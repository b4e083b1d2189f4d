"""The graph of layers for Graphviz: a node per layer, an edge per block between two of them."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from graphsparse.checkpoints.boundary import printable
from graphsparse.exports.edges import Edges, Progress
from graphsparse.graph import Edge, LayeredGraph


def write_dot(file: BinaryIO, graph: LayeredGraph, progress: Progress) -> None:
    """Layers with their units and how many are active; between them the edges kept and active, wires dashed."""
    edges, lines = Edges(graph, progress), ["digraph {", "  rankdir=LR;", "  node [shape=box];"]
    for number, layer in enumerate(graph.layers):
        live = int(np.count_nonzero(edges.live[layer.start : layer.stop]))
        counts = f"{live:,} of {len(layer):,} units active"
        names = dict.fromkeys((layer.name, layer.operation))  # an input's are the same
        lines.append(f"  {number} [label={_quoted(*names, counts)}];")
    places = {layer.start: number for number, layer in enumerate(graph.layers) if len(layer)}
    for number, edge in enumerate(graph.edges, 1):
        kept, active = _counts(edges, edge)
        style = "" if edge.parameter else ", style=dashed"
        label = _quoted(edge.parameter or "wires", f"{active:,} of {kept:,} active")
        lines.append(f"  {places[edge.source.start]} -> {places[edge.target.start]} [label={label}{style}];")
        progress(number, len(graph.edges))
    file.write("\n".join([*lines, "}", ""]).encode())


def _counts(edges: Edges, edge: Edge) -> tuple[int, int]:
    """How many edges of a block leave one layer, and how many of them are active; parallel ones count each."""
    rows = edges.of(edge.block)
    here = (rows.sources >= edge.source.start) & (rows.sources < edge.source.stop)
    return int(np.count_nonzero(here)), int(np.count_nonzero(rows.active[here]))


def _quoted(*parts: str) -> str:
    """A label of several lines; quotes and backslashes of names stay what they are."""
    plain = (printable(part).replace("\\", "\\\\").replace('"', '\\"') for part in parts)
    return '"' + "\\n".join(plain) + '"'

"""GraphML and GEXF, written line by line, so that no more than one layer's edges are in memory; and Graphviz, by layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from graphsparse.checkpoints.boundary import printable
from graphsparse.exports.edges import Edges, Progress
from graphsparse.graph import Edge, LayeredGraph

NODE = (("layer", "int"), ("name", "string"), ("active", "boolean"))
EDGE = (("parameter", "string"), ("active", "boolean"), ("weight", "double"))
TRUTH = ("false", "true")


def write_graphml(file: BinaryIO, graph: LayeredGraph, progress: Progress) -> None:
    """Nodes with layer (the rank), name and active; edges with weight, parameter and active."""
    edges = Edges(graph, progress)
    head = ['<?xml version="1.0" encoding="UTF-8"?>', '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">']
    for kind, attributes in (("node", NODE), ("edge", EDGE)):
        head += [f'<key id="{kind[0]}{n}" for="{kind}" attr.name="{name}" attr.type="{of}"/>' for n, (name, of) in enumerate(attributes)]  # fmt: skip
    _write(file, [*head, '<graph edgedefault="directed">'])
    _write(file, (
        f'<node id="{unit}"><data key="n0">{rank}</data><data key="n1">{escape(name)}</data><data key="n2">{active}</data></node>'
        for unit, rank, name, active in _nodes(edges)
    ))  # fmt: skip
    names = [f'<data key="e0">{escape(printable(name))}</data>' for name in edges.names] + [""]
    for rows in edges:
        _write(file, (
            f'<edge source="{u}" target="{v}">{names[p]}<data key="e1">{TRUTH[a]}</data><data key="e2">{_number(w)}</data></edge>'
            for u, v, w, p, a in rows.listed()
        ))  # fmt: skip
    _write(file, ["</graph>", "</graphml>"])


def write_gexf(file: BinaryIO, graph: LayeredGraph, progress: Progress) -> None:
    """The same as `write_graphml`, in GEXF 1.2."""
    edges = Edges(graph, progress)
    head = ['<?xml version="1.0" encoding="UTF-8"?>', '<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2">',
            '<graph defaultedgetype="directed" mode="static">']  # fmt: skip
    for kind, attributes in (("node", NODE), ("edge", EDGE[:2])):
        lines = (f'<attribute id="{n}" title="{name}" type="{"integer" if of == "int" else of}"/>' for n, (name, of) in enumerate(attributes))  # fmt: skip
        head += [f'<attributes class="{kind}" mode="static">', *lines, "</attributes>"]
    _write(file, [*head, "<nodes>"])
    _write(file, (
        f'<node id="{unit}" label="{unit}"><attvalues>{_attributes(str(rank), name, active)}</attvalues></node>'
        for unit, rank, name, active in _nodes(edges)
    ))  # fmt: skip
    _write(file, ["</nodes>", "<edges>"])
    names, number = [_attributes(printable(name)) for name in edges.names] + [""], 0
    for rows in edges:
        _write(file, (
            f'<edge id="{e}" source="{u}" target="{v}" weight="{_number(w)}"><attvalues>{names[p]}<attvalue for="1" value="{TRUTH[a]}"/></attvalues></edge>'
            for e, (u, v, w, p, a) in enumerate(rows.listed(), number)
        ))  # fmt: skip
        number += len(rows.sources)
    _write(file, ["</edges>", "</graph>", "</gexf>"])


def _attributes(*values: str) -> str:
    """The values of attributes in their order, as GEXF has them."""
    return "".join(f'<attvalue for="{number}" value={quoteattr(value)}/>' for number, value in enumerate(values))


def _nodes(edges: Edges) -> Iterator[tuple[int, int, str, str]]:
    """Of each unit its id, the rank and the name of its layer, and whether it is active."""
    for layer in edges.graph.layers:
        name = printable(layer.name)
        for unit, active in enumerate(edges.live[layer.start : layer.stop].tolist(), layer.start):
            yield unit, layer.rank, name, TRUTH[active]


def _number(value: float) -> str:
    """A number as XML schemas write it."""
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"


def _write(file: BinaryIO, lines: Iterable[str]) -> None:
    file.writelines(f"{line}\n".encode() for line in lines)


def write_dot(file: BinaryIO, graph: LayeredGraph, progress: Progress) -> None:
    """A node per layer with its counts of units; an edge per block with its counts of kept and active edges, dashed for
    wires."""
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
    """How many edges of a block leave one layer, and how many of them are active. Each of parallel ones counts."""
    rows = edges.of(edge.block)
    here = (rows.sources >= edge.source.start) & (rows.sources < edge.source.stop)
    return int(np.count_nonzero(here)), int(np.count_nonzero(rows.active[here]))


def _quoted(*parts: str) -> str:
    """A label of several lines, in which quotes and backslashes of names are escaped."""
    plain = (printable(part).replace("\\", "\\\\").replace('"', '\\"') for part in parts)
    return '"' + "\\n".join(plain) + '"'

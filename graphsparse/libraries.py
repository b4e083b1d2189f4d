"""The graph in the libraries that people already use: networkx and igraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import igraph
import networkx
import numpy as np
import pandas

from graphsparse.blocks import Block
from graphsparse.kernels.masks import Mask
from graphsparse.layers import Layer

Weights = Mapping[str, np.ndarray]


def edge_table(
    layers: Sequence[Layer], kept: Mapping[str, Mask], weights: Weights, cut: np.ndarray
) -> pandas.DataFrame:
    """A row per edge: source, target (unit ids), weight and parameter, sorted by source and target.

    The weight is the kept weight itself, 1 for wires and where the values are not known; parallel connections (the taps
    of a kernel in channel resolution) are one edge whose weight is their norm.
    """
    parts = [_rows(kept, weights, block) for layer in layers for block in layer.blocks]
    empty = pandas.DataFrame({"source": [], "target": [], "weight": [], "parameter": []})
    table = pandas.concat(parts or [empty], ignore_index=True)
    table = table[~table["source"].isin(cut) & ~table["target"].isin(cut)]
    repeated = table.duplicated(["source", "target"], keep=False)
    several = table[repeated].assign(weight=lambda rows: rows["weight"] ** 2)
    several = several.groupby(["source", "target"], as_index=False).agg({"weight": "sum", "parameter": "first"})
    several["weight"] = np.sqrt(several["weight"])
    whole = pandas.concat([table[~repeated], several]) if len(several) else table[~repeated]
    return whole.sort_values(["source", "target"], ignore_index=True)


def _rows(kept: Mapping[str, Mask], weights: Weights, block: Block) -> pandas.DataFrame:
    sources, targets, entries = block.pairs(kept)
    name = getattr(block, "parameter", None)
    known = weights.get(name) if name is not None and entries is not None else None
    weight = np.ones(len(sources)) if known is None else known.reshape(-1)[entries].astype(float)
    parameter = np.full(len(sources), name, dtype=object)
    return pandas.DataFrame({"source": sources, "target": targets, "weight": weight, "parameter": parameter})


def _node_columns(layers: Sequence[Layer]) -> tuple[list[int], list[str]]:
    ranks = [layer.rank for layer in layers for _ in range(len(layer))]
    names = [layer.name for layer in layers for _ in range(len(layer))]
    return ranks, names


def to_networkx(
    layers: Sequence[Layer], kept: Mapping[str, Mask], weights: Weights, cut: np.ndarray
) -> networkx.DiGraph:
    """Nodes are unit ids with "layer" (the rank) and "name" (the layer's name); edges with "weight" and "parameter"."""
    result = networkx.DiGraph()
    for unit, (rank, name) in enumerate(zip(*_node_columns(layers), strict=True)):
        result.add_node(unit, layer=rank, name=name)
    table = edge_table(layers, kept, weights, cut)
    columns = (
        table["source"].tolist(),
        table["target"].tolist(),
        table["weight"].tolist(),
        table["parameter"].tolist(),
    )
    result.add_edges_from((u, v, {"weight": w, "parameter": p}) for u, v, w, p in zip(*columns, strict=True))
    return result


def to_igraph(layers: Sequence[Layer], kept: Mapping[str, Mask], weights: Weights, cut: np.ndarray) -> igraph.Graph:
    """Vertices are unit ids with "layer" (the rank) and "name"-like "part"; edges with "weight" and "parameter"."""
    table = edge_table(layers, kept, weights, cut)
    ranks, names = _node_columns(layers)
    pairs = np.stack([table["source"], table["target"]], 1).astype(np.int64)
    result = igraph.Graph(n=len(ranks), edges=pairs, directed=True)
    result.vs["layer"], result.vs["part"] = ranks, names
    result.es["weight"], result.es["parameter"] = table["weight"].tolist(), table["parameter"].tolist()
    return result

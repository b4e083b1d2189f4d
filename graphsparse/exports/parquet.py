"""The edge list as a Parquet file, a row group per layer."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from graphsparse.errors import MissingExtra
from graphsparse.exports.edges import WIRE, Edges, Progress
from graphsparse.graph import LayeredGraph


def write_parquet(file: BinaryIO, graph: LayeredGraph, progress: Progress) -> None:
    """A row per edge: source, target, weight, parameter (null for wires), layer (the target's) and active."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra(
            "pyarrow must be installed for a Parquet file", way_out="pip install 'graphsparse[parquet]'"
        ) from error
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
    """The name as UTF-8 can hold it: halves of characters written out."""
    return name.encode("utf-8", "backslashreplace").decode()

"""A graph as an npz of plain arrays, and back: its structure, masks and weights, and its blocks as csr for everybody else.

The array ``contents`` is JSON in UTF-8. It names the masks and weights by parameter, and for every block the csr
(``indptr``, ``indices``, ``shape``; every entry is True) with the layers that it joins. NumPy and SciPy read all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy import sparse

from graphsparse.blocks import KernelBlock
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.numpy_file import read_npz, to_tensor, write_npz
from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.boundary import refusing
from graphsparse.errors import CheckpointError
from graphsparse.exports.edges import Progress
from graphsparse.graph import LayeredGraph, Use
from graphsparse.graph_file import graph_from_bytes, graph_to_bytes
from graphsparse.kernels.masks import Mask, word_count

VERSION = 1
Arrays = Mapping[str, np.ndarray]


def write_graph(file: BinaryIO, graph: LayeredGraph, progress: Progress) -> None:
    """Write everything that `read_graph` needs, and the csr of every block."""
    arrays: dict[str, Pending] = {}

    def add(name: str, array: np.ndarray) -> str:
        arrays[name] = ready(to_tensor(np.ascontiguousarray(array), name))
        return name

    masks = {**graph.masks, **{name: graph.kept[name] for name in graph.shapes}}
    contents: dict[str, Any] = {
        "version": VERSION,
        "masks": [[name, mask.shape, add(f"mask_{n}", mask.words)] for n, (name, mask) in enumerate(masks.items())],
        "weights": [[name, add(f"weight_{n}", np.asarray(w))] for n, (name, w) in enumerate(graph.weights.items())],
        "uses": [
            [key, use.parameter, use.name, add(f"use_{n}", use.mask.words)] for n, (key, use) in enumerate(graph.uses.items())
        ],
        "swept_under": [block.mask for block in _kernels(graph)],
        "blocks": [],
    }  # fmt: skip
    add("structure", np.frombuffer(bytearray(graph_to_bytes(graph)), np.uint8))

    unknown = replace(ready(to_tensor(np.empty(0, np.int32), "")), shape=(-1,))  # how long is known when it is made

    @lru_cache(maxsize=1)
    def matrix(number: int) -> sparse.csr_array:
        progress(number, len(graph.edges))
        return replace(graph.edges[number]).matrix  # an edge keeps its matrix; this copy of it does not stay

    for number, edge in enumerate(graph.edges):
        names = {part: f"block_{number}_{part}" for part in ("indptr", "indices")}
        shape = len(edge.source), len(edge.target)
        contents["blocks"].append({"source": edge.source.name, "target": edge.target.name, "parameter": edge.parameter, "shape": shape, **names})  # fmt: skip
        for part, name in names.items():
            make = partial(lambda number, part: to_tensor(getattr(matrix(number), part), part), number, part)
            arrays[name] = replace(unknown, make=make)
    add("contents", np.frombuffer(bytearray(json.dumps(contents), "ascii"), np.uint8))
    write_npz(file, arrays, {})


def _kernels(graph: LayeredGraph) -> Iterator[KernelBlock]:
    return (block for layer in graph.layers for block in layer.blocks if isinstance(block, KernelBlock))


def read_graph(path: Path) -> LayeredGraph:
    """The graph that `write_graph` wrote; nothing of the file is run. Raises CheckpointError for any other file."""
    with refusing(str(path)):
        content = read_npz(path).content
        try:
            return _graph({name: tensor.numpy() for name, tensor in content.items()})
        except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise CheckpointError(
                "a file of a graph must be one that save_graph wrote, whole", place=str(path),
                received=f"{type(error).__name__}: {error}"[:160], way_out="write it again with graphsparse.save_graph",
            ) from error  # fmt: skip


def _graph(arrays: Arrays) -> LayeredGraph:
    _require(arrays["contents"].dtype == np.uint8, f"contents of {arrays['contents'].dtype}")
    contents: Any = read_object(arrays["contents"].tobytes(), "contents")
    _require(contents["version"] == VERSION, f"a file of version {contents['version']}")
    structure = np.asarray(arrays["structure"], np.uint8).tobytes()
    graph, _ = graph_from_bytes(structure)
    _require(graph.n_units <= len(structure), f"{graph.n_units} units in {len(structure)} bytes")
    known = {**graph.constants, **{name: mask.shape for name, mask in graph.modulators.items()}, **graph.shapes}
    masks = {}
    for name, shape, words in contents["masks"]:
        _require(tuple(shape) == tuple(known[name]), f"a mask of shape {shape} for {name}")
        masks[name] = _mask(tuple(shape), arrays[words])
    missing = graph.shapes.keys() - masks.keys()
    _require(not missing, f"no mask for {', '.join(missing)}")
    _require(len(contents["uses"]) <= len(arrays), "more uses than arrays")
    uses = {}
    for key, parameter, name, words in contents["uses"]:
        _require(str(key) not in known, f"a use with the name of a parameter, {key}")
        uses[str(key)] = Use(parameter, str(name), _mask(graph.shapes[parameter], arrays[words]))
    weights = {str(name): arrays[place] for name, place in contents["weights"]}
    for name, weight in weights.items():
        _require(weight.shape == tuple(graph.shapes[name]), f"a weight of shape {weight.shape} for {name}")
    return _under(replace(graph, masks=masks, weights=weights, uses=uses), contents["swept_under"])


def _under(graph: LayeredGraph, keys: list[str]) -> LayeredGraph:
    """The graph whose kernels are swept under the masks of these keys: their parameter's own, or one use's."""
    masks = iter(keys)
    _require(len(keys) == sum(1 for _ in _kernels(graph)), f"masks of {len(keys)} kernels")
    layers = []
    for layer in graph.layers:
        blocks = []
        for block in layer.blocks:
            if isinstance(block, KernelBlock):
                key = next(masks)
                own = key == block.parameter or key in graph.uses and graph.uses[key].parameter == block.parameter
                _require(own, f"the mask {key} for {block.parameter}")
                block = replace(block, mask=key)
            blocks.append(block)
        layers.append(replace(layer, blocks=tuple(blocks)))
    return replace(graph, layers=tuple(layers))


def _mask(shape: tuple[int, ...], words: np.ndarray) -> Mask:
    """The mask, if the words are as many as its entries need; what lies beyond the last entry is 0."""
    _require(
        words.dtype == np.uint64 and words.shape == (word_count(prod(shape)),), f"a mask of {words.dtype} {words.shape}"
    )
    return Mask(shape, words).both(Mask.whole(shape))


def _require(holds: bool, received: str) -> None:
    if not holds:
        raise ValueError(received)

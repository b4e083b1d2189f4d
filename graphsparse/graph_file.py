"""A graph's structure as a file, and back: layers, blocks and ids, without masks and weights.

A file is a line of JSON and the bytes of its arrays; the line says where each array lies and the digest of all bytes.
Nothing of it is run, and ids are within bounds before a compiled loop sees them: a loop does not look.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np

from graphsparse.blocks import Block, Gate, KernelBlock, Lift, Places, Scale, Stage, Taps, View, Wiring
from graphsparse.captured import Coverage, Input
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask, word_count
from graphsparse.layers import Layer

ALIGNED = 64  # bytes
DIGEST = 65  # bytes of the first line
TYPES = ("int32", "int64", "uint64")
FIRST_ID = -2  # the constant; -1 is no unit
Json = dict[str, Any]


def graph_to_bytes(graph: LayeredGraph, about: Mapping[str, Any] | None = None) -> bytes:
    """The structure of a graph, and plain values about it; its masks, weights and masks of uses are not part of it."""
    arrays = _Written()
    header = {
        "about": dict(about or {}),
        "layers": [_layer_out(layer, arrays) for layer in graph.layers],
        "sources": arrays.add(graph.sources), "sinks": arrays.add(graph.sinks),
        "shapes": list(graph.shapes.items()), "constants": list(graph.constants.items()),
        "modulators": [(name, kept.shape, arrays.add(kept.words)) for name, kept in graph.modulators.items()],
        "aliases": dict(graph.aliases), "unused": graph.unused, "resolution": graph.resolution,
        "norm_statistics": graph.norm_statistics, "has_norm_statistics": graph.has_norm_statistics,
        "rules": dict(graph.coverage.rules), "conservative": graph.coverage.conservative,
        "inputs": [asdict(each) for each in graph.inputs], "positions": dict(graph.positions),
    }  # fmt: skip
    body = b"".join(arrays.parts)
    header.update(arrays=arrays.places)
    text = json.dumps(header).encode()
    digest = sha256(text + b"\n" + body).hexdigest().encode()
    return digest + b"\n" + text + b"\n" + body


def graph_from_bytes(content: bytes | bytearray) -> tuple[LayeredGraph, Json]:
    """The graph of `graph_to_bytes`, and what was said about it. Raises ValueError for other or damaged bytes, or ids that no unit has."""
    if sha256(memoryview(content)[DIGEST:]).hexdigest().encode() + b"\n" != content[:DIGEST]:
        raise ValueError("a file of a graph must be whole")
    end = content.index(b"\n", DIGEST)
    try:
        header = json.loads(bytes(content[DIGEST:end]))
        body = np.frombuffer(content, np.uint8)[end + 1 :].copy()  # loops want it in order and writeable
        return _Read(header, body).graph(), dict(header["about"])
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError("a file of a graph must have the fields of one") from error


class _Written:
    """The arrays of a file, each once."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.places: list[tuple[int, str, tuple[int, ...]]] = []
        self.size = 0
        self.known: dict[int, tuple[int, np.ndarray]] = {}  # the array is kept, so that no other gets its id

    def add(self, array: np.ndarray) -> int:
        """The number by which a file knows the array."""
        if id(array) not in self.known:
            self.known[id(array)] = len(self.places), array
            self.places.append((self.size, array.dtype.name, array.shape))
            written = np.ascontiguousarray(array).tobytes()
            self.parts += [written, bytes(-len(written) % ALIGNED)]
            self.size += len(written) + -len(written) % ALIGNED
        return self.known[id(array)][0]


def _layer_out(layer: Layer, arrays: _Written) -> Json:
    return {
        "name": layer.name, "operation": layer.operation, "start": layer.start, "stop": layer.stop, "rank": layer.rank,
        "blocks": [_block_out(block, arrays) for block in layer.blocks],
        "stages": [_stage_out(stage, arrays) for stage in layer.stages], "module": layer.module,
        "matrices": None if layer.matrices is None else arrays.add(layer.matrices),
    }  # fmt: skip


def _block_out(block: Block, arrays: _Written) -> list[Any]:
    if isinstance(block, Wiring):
        return ["wires", arrays.add(block.sources), arrays.add(block.targets)]
    if isinstance(block, Gate):
        return ["gate", arrays.add(block.lefts), arrays.add(block.rights), arrays.add(block.targets)]
    view = block.view
    place = arrays.add(view.index) if isinstance(view, Places) else [view.offset, view.shape, view.strides]
    taps = [arrays.add(block.taps.table), block.taps.size]
    return ["kernel", block.parameter, place, arrays.add(block.sources), arrays.add(block.targets), taps]


def _stage_out(stage: Stage, arrays: _Written) -> list[Any]:
    entries = None if stage.entries is None else arrays.add(stage.entries)
    return ["scale" if isinstance(stage, Scale) else "lift", arrays.add(stage.units), stage.parameter, entries]


class _Read:
    """A file being read; every part is checked as it is made."""

    def __init__(self, header: Json, body: np.ndarray):
        self.header = header
        self.arrays = [_array(body, *place) for place in header["arrays"]]
        self.taps: dict[tuple[int, int], Taps] = {}
        self.shapes = _shapes(header["shapes"])
        self.n_units = header["layers"][-1]["stop"] if header["layers"] else 0
        self.modulators = {name: _mask(tuple(shape), self.arrays[words]) for name, shape, words in header["modulators"]}

    def graph(self) -> LayeredGraph:
        """The graph."""
        header, start, layers = self.header, 0, []
        for each in header["layers"]:
            _require(type(each["stop"]) is int and each["start"] == start <= each["stop"])
            layers.append(self.layer(each))
            start = each["stop"]
        conservative = tuple((str(a), str(b), str(c)) for a, b, c in header["conservative"])
        return LayeredGraph(
            layers=tuple(layers), sources=self.ids(header["sources"], 1, 0), sinks=self.ids(header["sinks"], 1, 0),
            shapes=self.shapes, modulators=self.modulators, constants=_shapes(header["constants"]),
            aliases={str(alias): str(name) for alias, name in header["aliases"].items()},
            unused=tuple(map(str, header["unused"])), resolution=str(header["resolution"]),
            norm_statistics=bool(header["norm_statistics"]), has_norm_statistics=bool(header["has_norm_statistics"]),
            coverage=Coverage({str(rule): int(n) for rule, n in header["rules"].items()}, conservative),
            inputs=tuple(_input(each) for each in header["inputs"]),
            positions={str(name): float(count) for name, count in header["positions"].items()},
        )  # fmt: skip

    def layer(self, found: Json) -> Layer:
        """One layer, whose blocks lead to its own units."""
        blocks = tuple(self.block(*block) for block in found["blocks"])
        stages = tuple(self.stage(*stage) for stage in found["stages"])
        name, operation, rank = str(found["name"]), str(found["operation"]), int(found["rank"])
        module, matrices = str(found.get("module", "")), found.get("matrices")  # older files have neither
        if matrices is not None:
            matrices = _within(self.arrays[matrices], 1, -1, np.iinfo(np.int32).max)
            _require(len(matrices) == found["stop"] - found["start"])
        return Layer(name, operation, found["start"], found["stop"], rank, blocks, stages, module, matrices)

    def block(self, kind: str, *parts: Any) -> Block:
        """A block, whose arrays fit each other."""
        if kind == "kernel":
            return self.kernel(*parts)
        *sources, targets = (self.ids(part, 1, 0 if part == parts[-1] else FIRST_ID) for part in parts)
        _require(all(len(each) == len(targets) for each in sources))
        _require((kind, len(sources)) in (("wires", 1), ("gate", 2)))
        return Wiring(sources[0], targets) if kind == "wires" else Gate(sources[0], sources[1], targets)

    def kernel(self, parameter: str, place: Any, sources: int, targets: int, taps: list[int]) -> KernelBlock:
        """A kernel whose view lies in its parameter, and whose rows and columns have units."""
        view = self.place(parameter, place)
        known = KernelBlock(parameter, view, self.ids(sources, 3), self.ids(targets, 3, 0), self.tap(*taps), parameter)
        groups, rows, columns = view.table
        count, positions = known.taps.table.shape
        _require(known.sources.shape == (groups, columns // max(count, 1), known.taps.size))
        _require(known.targets.shape == (groups, rows, positions) and columns % max(count, 1) == 0)
        return known

    def place(self, parameter: str, place: Any) -> View | Places:
        """Where a kernel lies in its parameter: within it."""
        size = prod(self.shapes[parameter])
        if isinstance(place, int):
            return Places(_within(self.arrays[place], 3, -1, size))
        offset, shape, strides = place
        _require(len(shape) == len(strides) > 2 and all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)))
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        _require(0 in shape or last < size)
        _require(prod(shape) <= size)  # an entry lies at one place of a kernel
        return View(offset, tuple(shape), tuple(strides))

    def tap(self, table: int, size: int) -> Taps:
        """The taps of a table; kernels that share theirs share them again."""
        if (table, size) not in self.taps:
            self.taps[table, size] = Taps.of(_within(self.arrays[table], 2, -1, size), size)
        return self.taps[table, size]

    def stage(self, kind: str, units: int, parameter: str | None, entries: int | None) -> Stage:
        """A stage, whose entries lie in its parameter."""
        ids = self.ids(units, 1, 0)
        if parameter is None:
            _require(kind == "lift" and entries is None)
            return Lift(ids)
        shape = self.modulators[parameter].shape if parameter in self.modulators else self.shapes[parameter]
        _require(entries is not None and kind in ("lift", "scale"))
        places = _within(self.arrays[int(entries or 0)], 1, 0, prod(shape))
        _require(len(places) == len(ids))
        return Scale(ids, parameter, places) if kind == "scale" else Lift(ids, parameter, places)

    def ids(self, number: int, axes: int, lowest: int = FIRST_ID) -> np.ndarray:
        """An array of ids of units, int32 or int64."""
        return _within(self.arrays[number], axes, lowest, self.n_units)


def _array(body: np.ndarray, offset: int, kind: str, shape: list[int]) -> np.ndarray:
    _require(kind in TYPES and offset >= 0 and offset % 8 == 0 and all(type(n) is int and n >= 0 for n in shape))
    nbytes = prod(shape) * np.dtype(kind).itemsize
    _require(offset + nbytes <= len(body))
    return body[offset : offset + nbytes].view(kind).reshape(shape)


def _within(array: np.ndarray, axes: int, lowest: int, end: int) -> np.ndarray:
    """The array, where its integers are at least ``lowest`` and below ``end``."""
    _require(array.ndim == axes and array.dtype.kind == "i")
    _require(array.size == 0 or (int(array.min()) >= lowest and int(array.max()) < end))
    return array


def _mask(shape: tuple[int, ...], words: np.ndarray) -> Mask:
    _require(words.shape == (word_count(prod(shape)),) and words.dtype == np.uint64)
    return Mask(shape, words)


def _shapes(found: list[Any]) -> dict[str, tuple[int, ...]]:
    _require(all(type(n) is int and n >= 0 for _, shape in found for n in shape))
    return {str(name): tuple(shape) for name, shape in found}


def _input(found: Mapping[str, Any]) -> Input:
    return Input(**{**found, "shape": tuple(found["shape"]), "tables": tuple(found["tables"])})


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("the parts of a file of a graph must fit each other")

"""What is kept and what is alive in one checkpoint, as bits; and a folder in which that is kept for the next time.

Runs and comparisons are made of these. A run that was stopped goes on from what the folder has.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from graphsparse import graph_store
from graphsparse.checkpoints.atomic import replacing
from graphsparse.errors import CheckpointError
from graphsparse.graph import LayeredGraph
from graphsparse.graph_file import graph_to_bytes
from graphsparse.kernels.masks import Mask, word_count
from graphsparse.metrics.degrees import row_sums
from graphsparse.metrics.ends import touched
from graphsparse.pages.reproduction import digest
from graphsparse.runs.steps import ENDINGS
from graphsparse.runs.template import Template
from graphsparse.sweep import sweep

ENTRY = ".snapshot"
OF_TRAINERS = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "trainer_state")
"""How the names of files begin that lie in a checkpoint's folder and say nothing of the network."""
UNITS = ("signal", "reaches", "joined", "joined_active")
"""Of each unit: whether a source reaches it, whether it reaches a sink, whether it has a kept or an active connection."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One checkpoint of a network.

    ``kept`` are all masks of its graph by key, those of biases and scales too. ``active`` are the active connections by
    parameter. ``units`` has a flag per unit for each of `UNITS`. ``fan_in`` has, by parameter, the mean and the standard
    deviation of the fan-ins of its rows, first of what is kept, then of what is active.
    """

    kept: Mapping[str, Mask]
    active: Mapping[str, Mask]
    units: Mapping[str, np.ndarray]
    fan_in: Mapping[str, tuple[float, float, float, float]]
    notes: tuple[str, ...] = ()

    @property
    def live(self) -> np.ndarray:
        """Whether a unit lies between a source and a sink, bool (n_units,)."""
        return self.units["signal"] & self.units["reaches"]

    def on(self, base: LayeredGraph) -> LayeredGraph:
        """The graph of this checkpoint."""
        kept = self.kept
        return replace(
            base,
            masks={name: kept[name] for name in base.shapes},
            modulators={name: kept[name] for name in base.modulators},
            uses={key: replace(use, mask=kept[key]) for key, use in base.uses.items()},
        )


def snapshot_of(graph: LayeredGraph, notes: tuple[str, ...] = ()) -> Snapshot:
    """Sweep a graph once."""
    found = sweep(graph, graph.kept)
    active: dict[str, Mask] = found.connections()
    units = {
        "signal": found.signal,
        "reaches": found.reaches,
        "joined": touched(graph, graph.kept),
        "joined_active": touched(graph, graph.kept, found),
    }
    fan_in = {name: (*_moments(graph, name, graph.kept[name]), *_moments(graph, name, active[name])) for name in active}
    return Snapshot(dict(graph.kept), active, units, fan_in, (*notes, *graph.notes))


def _moments(graph: LayeredGraph, name: str, mask: Mask) -> tuple[float, float]:
    rows = row_sums(graph, name, mask.unpack().reshape(-1))
    return (float(rows.mean()), float(rows.std())) if rows.size else (float("nan"), float("nan"))


def to_bytes(snapshot: Snapshot, name: str) -> bytes:
    """A snapshot, compressed, with the name of its checkpoint."""
    masks = {"kept": snapshot.kept, "active": snapshot.active}
    told = {
        **{part: [(name, list(mask.shape)) for name, mask in own.items()] for part, own in masks.items()},
        "units": len(snapshot.live), "fan_in": snapshot.fan_in, "notes": snapshot.notes, "about": {"name": name},
    }  # fmt: skip
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("about.json", json.dumps(told))
        for part, own in masks.items():
            with file.open(part, "w", force_zip64=True) as entry:
                for mask in own.values():
                    entry.write(mask.words.astype("<u8").tobytes())
        for name in UNITS:
            file.writestr(name, np.packbits(snapshot.units[name]).tobytes())
    return content.getvalue()


def from_bytes(content: bytes) -> Snapshot:
    """The snapshot of `to_bytes`. Raises any exception for other bytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        told = json.loads(file.read("about.json"))
        kept, active = (_masks(told[part], file.read(part)) for part in ("kept", "active"))
        bits = {name: np.frombuffer(file.read(name), np.uint8) for name in UNITS}
    units = {name: np.unpackbits(each, count=told["units"]).view(bool) for name, each in bits.items()}
    fan_in = {name: tuple(values) for name, values in told["fan_in"].items()}
    return Snapshot(kept, active, units, fan_in, tuple(told["notes"]))


def _masks(shapes: list[tuple[str, list[int]]], content: bytes) -> dict[str, Mask]:
    # a copy: loops are compiled for arrays that can be written to
    words = np.frombuffer(content, "<u8").astype(np.uint64)
    ends = np.cumsum([0, *(word_count(prod(shape)) for _, shape in shapes)])
    if len(words) != ends[-1]:
        raise ValueError("too short")
    parts = np.split(words, ends[1:])[:-1]
    return {name: Mask(tuple(shape), part) for (name, shape), part in zip(shapes, parts, strict=True)}


@dataclass(frozen=True)
class Sidecar:
    """A folder with a file for each checkpoint that was read.

    The file's name is a digest of the checkpoint's content and of ``key``, so that nothing is found for another
    checkpoint, other options or another version of the package.
    """

    folder: Path
    key: str

    @classmethod
    def of(cls, folder: str | os.PathLike[str], template: Template) -> Sidecar:
        """The folder, made where it is not there. Raises CheckpointError where it cannot be made."""
        way, structure = template.way, next(iter(template.structures.values()))
        options = (way.resolution, way.norm_statistics, way.sources, way.form, way.part, sorted(way.model_args.items()))
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                "a sidecar must be a folder that can be written", place=str(folder), received=error.strerror,
                way_out="name another with sidecar=",
            ) from error  # fmt: skip
        return cls(Path(folder), graph_store.key_of(options, sha256(graph_to_bytes(structure.graph, {})).hexdigest()))

    def entry(self, source: Any) -> Path:
        """Where what is found of a file is kept."""
        return self.folder / (sha256(f"{self.key} {digest_of(Path(source))}".encode()).hexdigest()[:32] + ENTRY)

    def find(self, entry: Path) -> Snapshot | None:
        """What is kept there, if it is whole."""
        try:
            return from_bytes(entry.read_bytes())
        except Exception:  # not there, or not written by this class: found anew
            return None

    def keep(self, entry: Path, snapshot: Snapshot, name: str) -> None:
        """Write it in one step; ``name`` tells people whose it is."""
        content = to_bytes(snapshot, name)
        with replacing(entry) as file:
            file.write(content)


def digest_of(path: Path) -> str:
    """A digest of a checkpoint's content: of a file, or of the files of a folder with their names."""
    found = sha256()
    try:
        if path.exists() and not (path.is_dir() or path.is_file()):  # a pipe or a device has no end
            raise OSError(0, "neither a file nor a folder")
        for file in _files(path):
            found.update((file.name if path.is_dir() else "").encode() + b"\0" + bytes.fromhex(digest(file)))
    except OSError as error:
        raise CheckpointError(
            "a checkpoint must be readable", place=str(path), received=error.strerror, way_out="check the path"
        ) from error
    return found.hexdigest()


def _files(path: Path) -> list[Path]:
    """The file itself; of a folder the files that say something of the network."""
    if not path.is_dir():
        return [path]
    return [
        file for file in sorted(path.iterdir())
        if file.suffix in (*ENDINGS, ".json") and file.is_file() and not file.name.startswith(OF_TRAINERS)
    ]  # fmt: skip

"""What is kept and what is alive in one checkpoint, as bits. Runs and comparisons are made of these."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask, word_count
from graphsparse.metrics.degrees import row_sums
from graphsparse.metrics.parts import touched
from graphsparse.sweep import sweep

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
        "joined_active": touched(graph, graph.kept, found.signal, found.reaches),
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

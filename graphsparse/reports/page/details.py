"""What a click on a layer shows: its degrees, its dead rows and columns, its mask as a picture, and why it is dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.metrics.parts import PARTS, Swept
from graphsparse.reports.page.pictures import picture, side_for
from graphsparse.reports.page.why import reasons

BINS = 24
"""Bars of a distribution: beyond so many different degrees, several share a bar."""
LARGEST = 2_000_000_000
"""Connections up to which masks are unpacked for pictures."""


def details(swept: Swept) -> list[dict[str, Any]] | None:
    """What each parameter shows, in the graph's order; None for a graph that is too large."""
    graph = swept.graph
    if graph.n_connections > LARGEST:
        return None
    side, why = side_for(len(graph.shapes)), reasons(swept)
    return [{**_of(swept, name, side), "why": why[name]} for name in graph.shapes]


def _of(swept: Swept, name: str, side: int) -> dict[str, Any]:
    graph = swept.graph
    kernels = [kernels_of(graph, name, swept.masks[part][name].unpack().reshape(-1)) for part in PARTS]
    degrees = {"in": [_degrees(each, (2, 3)) for each in kernels], "out": [_degrees(each, (1, 3)) for each in kernels]}
    lines = {side: {"all": len(both[0]), **{part: int((each == 0).sum()) for part, each in zip(PARTS, both)}}
             for side, both in degrees.items()}  # fmt: skip
    return {
        "dead": lines,
        "degrees": {side: distribution(both) for side, both in degrees.items()},
        "picture": picture(_matrix(kernels[0]), _matrix(kernels[1]), side),
        "uses": len(graph.kernels[name]),
    }


def kernels_of(graph: LayeredGraph, name: str, flat: np.ndarray) -> list[np.ndarray]:
    """A parameter's kernels (groups, rows, channels, taps), each once however often it is used."""
    found = []
    for block in {block.view: block for block in graph.kernels[name]}.values():
        kernel, taps = block.view.of(flat), max(len(block.taps.table), 1)
        found.append(kernel.reshape(*kernel.shape[:2], kernel.shape[2] // taps, taps))
    return found


def _degrees(kernels: Sequence[np.ndarray], axes: tuple[int, int]) -> np.ndarray:
    """Connections of each row, or of each input channel."""
    return np.concatenate([kernel.sum(axes).reshape(-1) for kernel in kernels]) if kernels else np.empty(0, np.int64)


def _matrix(kernels: Sequence[np.ndarray]) -> np.ndarray:
    """The kernels below each other, rows by columns; only the first where they differ in width."""
    flat = [kernel.reshape(kernel.shape[0] * kernel.shape[1], -1) for kernel in kernels]
    if not flat:
        return np.empty((0, 0), bool)
    return np.concatenate([each for each in flat if each.shape[1] == flat[0].shape[1]])


def distribution(both: Sequence[np.ndarray]) -> Mapping[str, Any]:
    """How many units have each degree, of what is kept and of what is active.

    ``from`` and ``to`` are the least and the greatest degree of each bar; zero has a bar of its own.

    Example:
        >>> found = distribution([np.array([0, 1, 2]), np.array([0, 0, 1])])
        >>> found["from"], found["kept"], found["active"]
        ([0, 1, 2], [1, 1, 1], [2, 1, 0])
    """
    some = np.concatenate([each[each > 0] for each in both])
    least, most = (int(some.min()), int(some.max())) if some.size else (1, 0)
    starts = np.linspace(least, most + 1, min(most + 1 - least, BINS) + 1)[:-1].astype(np.int64)
    starts = np.unique(np.concatenate([[0], [1] if least > 1 else [], starts]).astype(np.int64))
    stops = np.append(starts[1:], most + 1)
    counts = [np.histogram(each, np.append(starts, most + 1))[0].tolist() for each in both]
    return {"from": starts.tolist(), "to": (stops - 1).tolist(), **dict(zip(PARTS, counts))}

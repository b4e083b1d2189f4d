"""What a click on a layer shows: its degrees, its dead rows and columns, its mask as a picture, and why it is dead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphsparse.algebras import OR_AND
from graphsparse.kernels.masks import Mask
from graphsparse.metrics.cones import dense, missing_side
from graphsparse.metrics.parts import PARTS, Swept
from graphsparse.metrics.steps import Steps
from graphsparse.pages.render import count
from graphsparse.reports.page.fine import kernel_of

BINS = 24
"""Bars of a distribution: beyond so many different degrees, several share a bar."""
LARGEST = 2_000_000_000
"""Connections up to which masks are unpacked for pictures."""
ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
"""A letter for each of 64 levels: A is none of a cell, the last one the fullest cell of the picture."""
BUDGET, EACH, WIDEST, NARROWEST = 800_000, 8_000, 128, 16
"""Letters for all pictures of a page, letters more for each, and the sides of a picture: small where there are many."""
TEXTS = 4  # of a picture: two parts, each in two orders
WORK = 2_000_000_000
"""Connections and units that all examples of a page may look at."""
SWEEPS = 4_000
"""Sweeps that all examples of a page may take; one takes up to as many as there are layers."""
SIDES = {"sources": "start at units that no input moves", "sinks": "end at units that reach no output"}


def details(swept: Swept) -> list[dict[str, Any]] | None:
    """What each parameter shows, in the graph's order; None for a graph that is too large."""
    graph = swept.graph
    if graph.n_connections > LARGEST:
        return None
    letters, why = BUDGET / max(len(graph.shapes), 1) + EACH, reasons(swept)
    side = int(np.clip(np.sqrt(letters / TEXTS), NARROWEST, WIDEST))
    return [{**_of(swept, name, side), "why": why[name]} for name in graph.shapes]


def _of(swept: Swept, name: str, side: int) -> dict[str, Any]:
    graph = swept.graph
    flat = [swept.masks[part][name].unpack().reshape(-1) for part in PARTS]
    blocks = {block.view: block for block in graph.kernels[name]}.values()  # a kernel once, however often it is used
    kernels = [[kernel_of(block, mask) for block in blocks] for mask in flat]
    degrees = {"in": [_degrees(each, (2, 3)) for each in kernels], "out": [_degrees(each, (1, 3)) for each in kernels]}
    lines = {side: {"all": len(both[0]), **{part: int((each == 0).sum()) for part, each in zip(PARTS, both)}}
             for side, both in degrees.items()}  # fmt: skip
    return {
        "dead": lines,
        "degrees": {side: distribution(both) for side, both in degrees.items()},
        "picture": picture(_matrix(kernels[0]), _matrix(kernels[1]), side),
        "uses": len(graph.kernels[name]),
    }


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


def picture(kept: np.ndarray, active: np.ndarray, side: int) -> dict[str, Any]:
    """A mask (rows, columns) of what is kept and of what is active, in its own order and by degree.

    ``rows`` and ``columns`` are sizes; ``down`` and ``across`` count cells. ``plain`` and ``sorted`` hold the levels row
    after row, and in ``most`` the density of the fullest cell. Sorted, the rows and columns that keep most come first.
    """
    rows, columns = kept.shape
    found = {"rows": rows, "columns": columns, "down": min(rows, side), "across": min(columns, side)}
    if not kept.size:
        return {**found, "plain": None, "sorted": None}
    by_row, by_column = np.argsort(-kept.sum(1), kind="stable"), np.argsort(-kept.sum(0), kind="stable")
    ordered = _levels(kept[by_row][:, by_column], active[by_row][:, by_column], side)
    return {**found, "plain": _levels(kept, active, side), "sorted": ordered}


def _levels(kept: np.ndarray, active: np.ndarray, side: int) -> dict[str, Any]:
    densities = [density(array, side) for array in (kept, active)]
    most = float(densities[0].max())
    texts = [encoded(each / most if most else each) for each in densities]
    return {"most": most, "kept": texts[0], "active": texts[1]}


def density(matrix: np.ndarray, side: int) -> np.ndarray:
    """The share of each cell that is set, in at most ``side`` cells down and across of almost the same size.

    Example:
        >>> density(np.eye(4, dtype=bool), 2).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
    """
    down, across = (np.linspace(0, size, min(size, side) + 1).astype(np.int64) for size in matrix.shape)
    sums = np.add.reduceat(matrix, down[:-1], axis=0, dtype=np.int32)
    sums = np.add.reduceat(sums, across[:-1], axis=1)
    return sums / (np.diff(down)[:, None] * np.diff(across))


def encoded(shares: np.ndarray) -> str:
    """Shares from 0 to 1 as letters; what is more than nothing is never the letter of nothing.

    Example:
        >>> encoded(np.array([0, 1e-9, 1]))
        'AB/'
    """
    return ALPHABET[np.ceil(shares * (len(ALPHABET) - 1)).astype(np.int64)].tobytes().decode()


def reasons(swept: Swept) -> dict[str, list[str]]:
    """Sentences for each parameter; none where nothing that is kept is dead."""
    graph, found = swept.graph, swept.liveness
    every = OR_AND.vector(graph.n_units)
    OR_AND.put(every, np.arange(graph.n_units), True)
    fed, read = replace(found, reach=every).connections(), found.connections(every)
    dead = {name: graph.kept[name].without(swept.masks["active"][name]) for name in graph.shapes}
    lost = {name: mask for name, mask in dead.items() if mask.count()}
    wanted = sorted(lost, key=lambda name: -lost[name].count())
    wanted = wanted[: min(WORK // max(8 * graph.n_connections + graph.n_units, 1), SWEEPS // max(len(graph.layers), 1))]
    whole = Swept(dense(graph)) if wanted else swept
    texts: dict[str, list[str]] = {name: [] for name in graph.shapes}
    for name, mask in lost.items():
        parts = {"sources": mask.without(fed[name]), "sinks": mask.without(read[name])}
        texts[name] = _sentences(mask, parts)
        if name in wanted:
            texts[name] += [_example(swept, whole, name, parts[side], side) for side in SIDES if parts[side].count()]
    return texts


def _sentences(lost: Mask, parts: dict[str, Mask]) -> list[str]:
    """How many lack what."""
    both = parts["sources"].both(parts["sinks"]).count()
    rest = lost.without(parts["sources"].either(parts["sinks"])).count()
    said = [f"{count(mask.count())} {SIDES[side]}" for side, mask in parts.items() if mask.count()]
    said += [f"{count(both)} of them lack both"] if both else []
    said += [f"{count(rest)} have both, but never at one position, or their product has a zero operand"] if rest else []
    return [f"{count(lost.count())} kept connections are dead: {'; '.join(said)}."]


def place_of(name: str, entry: int, shape: tuple[int, ...]) -> str:
    """The name of a connection, such as fc.weight[1, 1], of a parameter and a flat index."""
    return f"{name}[{', '.join(map(str, np.unravel_index(entry, shape)))}]"


def _example(swept: Swept, whole: Swept, name: str, mask: Mask, side: str) -> str:
    """The first of these connections, and where its way ends."""
    entry = int(np.flatnonzero(mask.unpack())[0])
    step = next(iter(Steps(swept.graph).of_entry(name, entry)), None)
    place = place_of(name, entry, mask.shape)
    if step is None:
        return f"For example {place}: it only ever reads padding."
    unit = step.source if side == "sources" else step.target
    return f"For example {place}: {missing_side(swept, whole, unit, side)}."

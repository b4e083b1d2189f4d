"""Units that die between two checkpoints: what they lost, and the masks that cut them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.runs.snapshot import Snapshot
from graphsparse.sweep import sweep

SEVERAL = "several together"
LOST = {(True, False): "sources", (False, True): "sinks", (True, True): "sources and sinks"}


@dataclass(frozen=True, eq=False)
class Deaths:
    """The units that are alive in one checkpoint and dead in the next: their ids; whether sources do not reach them and
    whether they reach no sink; and ``cut`` (masks, units), whether the drops of one mask alone were enough.

    A unit is cut by a mask where it would be alive had only this mask kept what it dropped.
    """

    units: np.ndarray
    starved: np.ndarray
    stranded: np.ndarray
    names: tuple[str, ...]
    cut: np.ndarray

    def lost(self) -> list[str]:
        """What each unit lost: sources, sinks, or both."""
        return [LOST[bool(one), bool(other)] for one, other in zip(self.starved, self.stranded)]

    def cut_by(self) -> list[str]:
        """Whose drops were enough for each unit's death; "several together" where no mask's alone were."""
        patterns, which = np.unique(self.cut.T, axis=0, return_inverse=True)
        texts = [_listed(np.asarray(self.names)[pattern]) for pattern in patterns]
        return [texts[index] for index in np.ravel(which)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) else SEVERAL


def deaths(base: LayeredGraph, before: Snapshot, after: Snapshot) -> Deaths:
    """Find who cut the units that died, by one sweep for each mask that dropped something."""
    units = np.flatnonzero(before.live & ~after.live)
    starved, stranded = ~after.units["signal"][units], ~after.units["reaches"][units]
    names, cut = [], []
    if units.size:
        graph = after.on(base)
        for name, mask in before.kept.items():
            back = mask.either(after.kept[name])
            if name in base.uses or back.same(after.kept[name]):
                continue
            found = sweep(_with(graph, name, back))
            names.append(name)
            cut.append((found.signal & found.reaches)[units])
    return Deaths(units, starved, stranded, tuple(names), np.asarray(cut, bool).reshape(len(names), len(units)))


def _with(graph: LayeredGraph, name: str, mask: Mask) -> LayeredGraph:
    if name in graph.shapes:
        return replace(graph, masks={**graph.masks, name: mask})
    return replace(graph, modulators={**graph.modulators, name: mask})


def within_layers(base: LayeredGraph, units: np.ndarray) -> tuple[list[str], list[int]]:
    """The name of each unit's layer, and its number there."""
    names, starts = (
        np.asarray([layer.name for layer in base.layers]),
        np.asarray([layer.start for layer in base.layers]),
    )
    owner = base.owner[units]
    return names[owner].tolist(), (units - starts[owner]).tolist()


def counted(rows: Iterable[Mapping[str, Any]], without: str = "unit") -> list[dict[str, Any]]:
    """Rows of units as counts: how many there are of each kind, their own numbers left out."""
    kinds = Counter(tuple((key, value) for key, value in row.items() if key != without) for row in rows)
    return [{**dict(kind), "units": count} for kind, count in kinds.items()]


def grouped(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As `counted`, with the units' own numbers as text under ``which``.

    Example:
        >>> grouped([{"layer": "fc", "unit": unit} for unit in (7, 3, 4, 5)])
        [{'layer': 'fc', 'units': 4, 'which': '3-5, 7'}]
    """
    units: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for row in rows:
        kind = tuple((key, value) for key, value in row.items() if key != "unit")
        units.setdefault(kind, []).append(row["unit"])
    return [{**dict(kind), "units": len(of), "which": _ranges(sorted(of))} for kind, of in units.items()]


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as text: those that follow each other by their ends."""
    starts = [n for n, each in enumerate(numbers) if not n or numbers[n - 1] < each - 1]
    ends = zip(starts, [*starts[1:], len(numbers)])
    return ", ".join(f"{numbers[a]}" if b == a + 1 else f"{numbers[a]}-{numbers[b - 1]}" for a, b in ends)

"""Units that die between two checkpoints: what they lost, and the masks that cut them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.runs.snapshot import Snapshot
from graphsparse.sweep import sweep

SEVERAL = "several together"
LOST = {(True, False): "sources", (False, True): "sinks", (True, True): "sources and sinks"}


@dataclass(frozen=True, eq=False)
class Deaths:
    """The units that are alive in one checkpoint and dead in the next, and why.

    ``units`` are their ids. ``starved``: no source reaches them any more; ``stranded``: they reach no sink. ``cut`` says by
    mask which of them it cuts: they would be alive had only this mask kept what it dropped. None where nobody looked.
    """

    units: np.ndarray
    starved: np.ndarray
    stranded: np.ndarray
    cut: Mapping[str, np.ndarray] | None

    def rows(self, base: LayeredGraph) -> Iterator[dict[str, Any]]:
        """Of each unit its layer and number there, what it lost, and which masks cut it."""
        places = within_layers(base, self.units)
        for place, starved, stranded, cut_by in zip(places, self.starved, self.stranded, self._cut_by()):
            yield {**place, "lost": LOST[bool(starved), bool(stranded)], "cut_by": cut_by}

    def _cut_by(self) -> list[str]:
        if self.cut is None:
            return [""] * len(self.units)
        table = np.stack([np.zeros(len(self.units), bool), *self.cut.values()], 1)  # its first column is of no mask
        patterns, which = np.unique(table, axis=0, return_inverse=True)
        names = np.asarray(["", *self.cut])
        texts = [", ".join(names[pattern]) or SEVERAL for pattern in patterns]
        return [texts[index] for index in np.ravel(which)]

    def cut_counts(self) -> Counter[str]:
        """How many units each mask cuts; under "" how many are cut by any."""
        cut = self.cut or {}
        counts = {name: int(flags.sum()) for name, flags in cut.items()}
        return Counter({**counts, "": int(np.any([*cut.values()], axis=0).sum())})


def deaths(base: LayeredGraph, before: Snapshot, after: Snapshot, causes: bool = True) -> Deaths:
    """Find the units that died; with ``causes`` also the masks that cut them, by a sweep for each that dropped something."""
    units = np.flatnonzero(before.live & ~after.live)
    cut: dict[str, np.ndarray] = {}
    if units.size and causes:
        for name, mask in before.kept.items():
            back = mask.either(after.kept[name])
            if name not in base.uses and not back.same(after.kept[name]):
                found = sweep(replace(after, kept={**after.kept, name: back}).on(base))
                cut[name] = (found.signal & found.reaches)[units]
    return Deaths(units, ~after.units["signal"][units], ~after.units["reaches"][units], cut if causes else None)


def within_layers(base: LayeredGraph, units: np.ndarray) -> Iterator[dict[str, Any]]:
    """The name of each unit's layer, and the unit's number there."""
    for unit, owner in zip(units.tolist(), base.owner[units].tolist()):
        layer = base.layers[owner]
        yield {"layer": layer.name, "unit": unit - layer.start}


def counted(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of units as counts: how many there are of each kind, their own numbers left out."""
    return [{**kind, "units": len(units)} for kind, units in _kinds(rows)]


def grouped(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As `counted`, with the units' own numbers as text under ``which``.

    Example:
        >>> grouped([{"layer": "fc", "unit": unit} for unit in (7, 3, 4, 5)])
        [{'layer': 'fc', 'units': 4, 'which': '3-5, 7'}]
    """
    return [{**kind, "units": len(units), "which": _ranges(sorted(units))} for kind, units in _kinds(rows)]


def _kinds(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """The kinds of rows: what rows share that differ by their unit alone, and the numbers of these units."""
    units: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for row in rows:
        kind = tuple((key, value) for key, value in row.items() if key != "unit")
        units.setdefault(kind, []).append(row["unit"])
    return ((dict(kind), numbers) for kind, numbers in units.items())


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as text, each run of consecutive ones as its first and last."""
    starts = [n for n, each in enumerate(numbers) if not n or numbers[n - 1] < each - 1]
    ends = zip(starts, [*starts[1:], len(numbers)])
    return ", ".join(f"{numbers[a]}" if b == a + 1 else f"{numbers[a]}-{numbers[b - 1]}" for a, b in ends)

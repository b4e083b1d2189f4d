"""Pairs of points, the edges of a picture: each once, and as short text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TABLE = 4_000_000
"""Entries of a table of pairs that is made however few pairs there are."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Edges from point ``sources`` to point ``targets``, and whether each is ``alive``; three arrays (edges,)."""

    sources: np.ndarray
    targets: np.ndarray
    alive: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        """All pairs of several."""
        none = cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool))
        columns = zip(*((each.sources, each.targets, each.alive) for each in (none, *parts)))
        return cls(*map(np.concatenate, columns))

    def __len__(self) -> int:
        return len(self.sources)

    def moved(self, places: np.ndarray) -> Pairs:
        """The same pairs of other points: ``places`` has the new number of each."""
        return Pairs(places[self.sources], places[self.targets], self.alive)

    def once(self) -> Pairs:
        """Each pair once, alive if any of its kind is; by a table of the pairs that can be, where it is small."""
        if not len(self):
            return self
        first, low = self.sources.min(), self.targets.min()
        width = int(self.targets.max() - low) + 1
        codes = (self.sources - first).astype(np.int64) * width + self.targets - low
        room = (int(self.sources.max() - first) + 1) * width
        if room > 8 * len(self) + TABLE:
            found, places = np.unique(codes, return_inverse=True)
            alive = np.zeros(len(found), bool)
            alive[places[self.alive]] = True
        else:
            seen = np.zeros(room, np.uint8)
            seen[codes] = 1
            seen[codes[self.alive]] = 2
            found = np.flatnonzero(seen)
            alive = np.asarray(seen[found] == 2)
        return Pairs(first + found // width, low + found % width, alive)


def drawing(pairs: Pairs, layers: np.ndarray, positions: np.ndarray, states: np.ndarray) -> dict[str, Any]:
    """The points that have an edge, and the edges in the order of their sources, as short text; see `packed`.

    ``layers``, ``positions`` and ``states`` are of all points. ``nodes`` has these three for each point that is drawn,
    layer and position as steps from the point before. ``leaving`` says how many edges leave it. ``reach`` has the step
    from one target to the next, doubled, and 1 more where the edge is alive.
    """
    order = np.lexsort((pairs.targets, pairs.sources))
    sources, targets, alive = pairs.sources[order], pairs.targets[order], pairs.alive[order]
    used = np.unique(np.concatenate([sources, targets]))
    place = np.zeros(len(layers), np.int64)
    place[used] = np.arange(len(used))
    home, at, ends = layers[used].astype(np.int64), positions[used].astype(np.int64), place[targets]
    steps = np.where(np.diff(home, prepend=-1) > 0, at, np.diff(at, prepend=0))
    reach = np.where(np.diff(sources, prepend=-1) > 0, ends, np.diff(ends, prepend=0))
    return {
        "nodes": packed(np.stack([np.diff(home, prepend=0), steps, states[used]], 1).reshape(-1)),
        "leaving": packed(np.bincount(place[sources], minlength=len(used))),
        "reach": packed(2 * reach + alive),
        "edges": len(sources),
        "active": int(np.count_nonzero(alive)),
    }


def packed(numbers: np.ndarray) -> str:
    """Whole numbers from 0 on as base64: seven bits to a byte, the lowest first; the eighth says that more follow.

    Example:
        >>> packed(np.array([1, 300])) == base64.b64encode(bytes([1, 0b10101100, 0b10])).decode()
        True
    """
    numbers = numbers.astype(np.int64)
    length = np.maximum(1, np.ceil(np.log2(np.maximum(numbers, 1) + 1) / 7).astype(np.int64))
    ends = np.cumsum(length)
    found = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for byte in range(int(length.max(initial=0))):
        here = length > byte
        more = np.where(length[here] > byte + 1, 128, 0)
        found[ends[here] - length[here] + byte] = (numbers[here] >> (7 * byte) & 127) + more
    return base64.b64encode(found.tobytes()).decode()

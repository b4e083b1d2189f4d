"""Iterative pruning: score, drop a share, score again. The result is one ranking, from which every round can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from graphsparse.errors import TargetError
from graphsparse.pruning.scratch import Masks, check_numbers, mask_of

Scorer = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
Progress = Callable[[int, int], None]
MANTISSA = 31
"""Scores are rounded to so many binary places, so that what is equal in exact arithmetic is equal here, in whatever order
threads have summed."""


def ranks_by_round(
    score: Scorer,
    shapes: Mapping[str, tuple[int, ...]],
    compression: float,
    rounds: int,
    masks: Masks | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Rank connections by the round in which iterative pruning drops them, and inside a round by their last score.

    Each round scores the connections under the masks so far (greater is kept longer) and keeps fewer, see `schedule`: from
    the present masks down to 1 / compression of all connections. What no round drops ranks by its last score. Of equal
    scores the later place falls first. `progress` is called with (rounds done, rounds) after each.

    Returns:
        Whole float64 numbers: one threshold on them gives the masks after any round, equal pairs (round, score) have
        equal numbers. Minus infinity for what `masks` has pruned.

    Raises:
        TargetError: compression or rounds below 1. MaskError: a score is not a number.
    """
    if not (compression >= 1 and rounds >= 1):
        raise TargetError(
            "the compression and the rounds of iterative pruning must be at least 1",
            received=f"{compression}, {rounds}",
        )
    start = flat(mask_of(masks or {}, name, shape) for name, shape in shapes.items())
    alive = np.flatnonzero(start)
    ranks = np.full(start.size, -np.inf)
    lowest = 0
    for done, kept in enumerate(schedule(alive.size, start.size / compression, rounds), 1):
        present = np.zeros(start.size, bool)
        present[alive] = True
        found = check_numbers(score(shaped(present, shapes)))
        values = rounded(flat(found.values())[alive])
        falling = least(values, alive.size - kept)
        lowest = _number(ranks, alive[falling], values[falling], lowest)
        alive, values = alive[~falling], values[~falling]
        if progress:
            progress(done, rounds)
    _number(ranks, alive, values, lowest)
    return shaped(ranks, shapes)


def schedule(first: int, last: float, rounds: int) -> list[int]:
    """Connections kept after each round: an exponential decay from `first` to `last`, never below one nor rising.

    (Tanaka et al., NeurIPS 2020, algorithm 1; de Jorge et al., ICLR 2021, section 4.)

    Example:
        >>> schedule(1000, 1, 3)
        [100, 10, 1]
    """
    last = min(max(last, 1.0), first)
    kept = (first * (last / first) ** (k / rounds) if first else 0 for k in range(1, rounds + 1))
    return [min(first, max(1, round(count))) if first else 0 for count in kept]


def rounded(values: np.ndarray) -> np.ndarray:
    """Float64 values rounded to `MANTISSA` binary places behind the leading one, each in its own scale."""
    bits = np.array(values, np.float64).view(np.uint64)
    step = np.uint64(1 << (52 - MANTISSA))
    bits += step >> np.uint64(1)
    bits &= ~(step - np.uint64(1))
    return bits.view(np.float64)


def _number(ranks: np.ndarray, places: np.ndarray, values: np.ndarray, lowest: int) -> int:
    """Write consecutive numbers from `lowest` on, in the order of the values; return the first that is free."""
    distinct, number = np.unique(values, return_inverse=True)
    ranks[places] = lowest + number
    return lowest + distinct.size


def least(values: np.ndarray, count: int) -> np.ndarray:
    """Which `count` values are least; of equal ones at the border the later ones."""
    if count == 0:
        return np.zeros(values.size, bool)
    border = np.partition(values, count - 1)[count - 1]
    chosen = values < border
    equal = np.flatnonzero(values == border)
    chosen[equal[equal.size - (count - int(chosen.sum())) :]] = True
    return chosen


def flat(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """All values in one row."""
    return np.concatenate([np.ravel(values) for values in arrays])


def shaped(row: np.ndarray, shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """The values of a row in arrays of these shapes: what `flat` joined, apart again."""
    parts = np.split(row, np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts)}

"""What two sets of masks have in common, and what was born and died between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from graphsparse.kernels.masks import Mask

Masks = Mapping[str, Mask]


class Change(NamedTuple):
    """Connections before and after: how many are new, gone, there in both, and there in either."""

    born: int
    died: int
    both: int
    either: int

    @property
    def overlap(self) -> float:
        """Intersection over union; 1 where both are empty."""
        return self.both / self.either if self.either else 1.0


def change(before: Mask, after: Mask) -> Change:
    """From one mask of a parameter to another.

    Example:
        >>> import numpy as np
        >>> change(Mask.of(np.array([1, 1, 0])), Mask.of(np.array([0, 1, 1])))
        Change(born=1, died=1, both=1, either=3)
    """
    old, new, both = before.count(), after.count(), before.both(after).count()
    return Change(new - both, old - both, both, old + new - both)


def changes(before: Masks, after: Masks, names: Iterable[str]) -> dict[str, Change]:
    """The changes of several parameters."""
    return {name: change(before[name], after[name]) for name in names}


def in_all(found: Mapping[str, Change]) -> Change:
    """The changes of all parameters together."""
    return Change(*map(sum, zip(Change(0, 0, 0, 0), *found.values())))


def ever(before: Masks | None, now: Masks, names: Iterable[str]) -> dict[str, Mask]:
    """What was there at any time so far."""
    return {name: now[name] if before is None else before[name].either(now[name]) for name in names}

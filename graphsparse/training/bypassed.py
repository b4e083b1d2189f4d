"""Weights that came back behind graphsparse's back: found by torch's own count of changes, and said once."""

from __future__ import annotations

import warnings

from graphsparse.training.kept import Kept
from graphsparse.training.shards import local
from graphsparse.training.zeroing import dropped_but_not_zero

EVERY = 100


class MasksBypassed(UserWarning):
    """A weight that its mask drops was not zero: something changed it without a step that graphsparse sees."""


def look(kept: Kept, warned: bool) -> bool:
    """Whether there has been a warning, after a look at a parameter that was changed since it was last known to be zero.

    A look waits for the device, so of the changes the 1st, 2nd, 4th, 8th ... and every hundredth are looked at.
    """
    kept.version, kept.changes = local(kept.parameter)._version, kept.changes + 1
    if warned or (kept.changes & (kept.changes - 1) and kept.changes % EVERY):
        return warned
    count = dropped_but_not_zero(local(kept.parameter), local(kept.mask))
    if count:
        warnings.warn(_text(kept.name, count), MasksBypassed, stacklevel=2)
    return bool(count)


def _text(name: str, count: int) -> str:
    return (
        f"{name}: {count:,} weights that its mask drops are not zero. They were changed without a step that graphsparse "
        "sees: by an optimiser that holds copies of the weights, that is not one of torch.optim's or was left out of "
        "keep_masks, by a checkpoint that was loaded, or by hand. Way out: call handle.apply() after each such change."
    )

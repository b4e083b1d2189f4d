"""Dropped weights that are not zero because something else changed them: found by torch's count of changes, said once."""

from __future__ import annotations

import warnings

import torch

from graphsparse.training.kept import Kept, local

EVERY = 100


class MasksBypassed(UserWarning):
    """A weight that its mask drops was not zero: something changed it without a step that graphsparse sees."""


def look(kept: Kept, warned: bool) -> bool:
    """Look at a parameter whose gradient has come in; returns whether there has been a warning by now.

    A look waits for the device, so only the 1st, 2nd, 4th, 8th ... and every hundredth change that torch has counted are
    looked at. Torch counts no changes through ``.data``, so as many of the gradients are taken for a look too.
    """
    weight = local(kept.parameter)
    kept.gradients += 1
    count = kept.gradients
    if weight._version != kept.version:
        kept.version, kept.changes = weight._version, kept.changes + 1
        count = kept.changes
    if warned or (count & (count - 1) and count % EVERY) or _is_recorded(weight):
        return warned
    dropped = int(torch.count_nonzero((weight.detach() != 0) & (kept.here == 0)))  # NaN is not zero
    if dropped:
        text = (
            f"{kept.name}: {dropped:,} weights that its mask drops are not zero. They were changed without a step that "
            "graphsparse sees: by an optimiser that holds copies of the weights, that is not one of torch.optim's or was "
            "left out of keep_masks, by a checkpoint that was loaded, or by hand. Way out: call handle.apply() after each "
            "such change."
        )
        warnings.warn(text, MasksBypassed, stacklevel=2)
    return bool(dropped)


def _is_recorded(weight: torch.Tensor) -> bool:
    """Whether a CUDA graph records what runs: nothing may wait for the device then."""
    return weight.is_cuda and torch.cuda.is_current_stream_capturing()

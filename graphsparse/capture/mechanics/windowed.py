"""One unit for each window of positions."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Units


def windowed(call: Call, value: Units, table: np.ndarray, out: tuple[int, ...]) -> Units:
    """One unit per channel and window; ``table`` (taps, windows) of positions among the last axes, -1 outside."""
    axes = len(out)
    (small,), _ = collapse(value.ids)
    lead = value.ids.shape[:-axes]
    if small.shape[-axes:].numel() == 1:  # a channel that is one unit stays that unit
        return Units(small.expand(*lead, *out))
    space = value.ids.shape[-axes:]
    flat = small.expand(*small.shape[:-axes], *space).reshape(-1, space.numel())
    padded = torch.cat([torch.zeros(len(flat), 1, dtype=flat.dtype), flat], 1)
    call.draft.fits(len(flat) * table.size)
    rows = padded[:, torch.from_numpy(table.T.copy() + 1)]
    ids = call.united(rows.reshape(-1, table.shape[0])).reshape(*small.shape[:-axes], *out)
    return Units(ids.expand(*lead, *out))

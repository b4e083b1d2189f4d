"""Tables read by index: connections where any token may come, constants where the indices are constant."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import CONSTANT
from graphsparse.capture.values import Known, Units, Weight
from graphsparse.capture.wiring import feed
from graphsparse.kernels.layout import Taps


def look_up(call: Call, weight: Weight | Known, indices: Known | Units) -> Units:
    """One source per row of the table, read at every position; constants where the indices are constant."""
    if isinstance(weight, Known):
        return function_of(call, call.ids(indices), 0)
    token = call.place if isinstance(indices, Units) else indices.token
    if token is None:
        return Units(torch.full((), CONSTANT).expand(call.shape))
    rows, features = weight.shape
    sources = call.draft.source(token, torch.Size([rows]), None).ids
    usage = call.draft.usage
    usage.tables.setdefault(token, []).append(usage.parameter_of(weight.name))
    usage.rows.append((call.place, sources))
    positions = indices.shape[1:].numel() if call.unrolled else 1
    taps = Taps.of(np.zeros((1, positions)), 1)
    ids = feed(call.draft, weight, weight.layout.t().unsqueeze(0), sources.reshape(1, rows, 1), taps)[0]
    shape = (features, 1, *(indices.shape[1:] if call.unrolled else [1] * (len(indices.shape) - 1)))
    return Units(ids.reshape(shape).movedim(0, -1).expand(call.shape))


def function_of(call: Call, ids: torch.Tensor, axis: int) -> Units:
    """What an index finds in a table of plain numbers. The axes of the index stand in the result from ``axis`` on."""
    rest = len(call.shape) - axis - ids.dim()
    return call.lift(Units(ids.reshape(*ids.shape, *[1] * rest).expand(call.shape)))

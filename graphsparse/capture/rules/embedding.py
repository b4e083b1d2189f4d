"""Tables read by index: connections where any token may come, constants where the indices are constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphsparse.capture.call import Call
from graphsparse.capture.table import Rule
from graphsparse.capture.units import CONSTANT
from graphsparse.capture.values import Known, Units, Weight
from graphsparse.kernels.layout import Taps

aten = torch.ops.aten


def embedding(call: Call, weight: Weight, indices: Known, *rest, **kwargs):
    """One source per row of the table, read at every position; a table read at constant indices is constants."""
    if indices.token is None:
        return Units(torch.full((), CONSTANT).expand(call.shape))
    rows, features = weight.shape
    sources = call.draft.source(indices.token, torch.Size([rows]), None).ids
    positions = indices.tensor[0].numel() if call.draft.unrolled else 1
    taps = Taps.of(np.zeros((1, positions)), 1)
    ids = call.draft.kernel(weight, weight.layout.t().unsqueeze(0), sources.reshape(1, rows, 1), taps)[0]
    shape = (features, 1, *(indices.shape[1:] if call.draft.unrolled else [1] * (indices.tensor.dim() - 1)))
    return Units(ids.reshape(shape).movedim(0, -1).expand(call.shape))


RULES: dict[Any, Rule] = {aten.embedding.default: Rule(embedding, weights="moves", flows="embedding")}

"""Operations on integers: no units go through them, but tokens do."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.table import Rule, rows

aten = torch.ops.aten
BUCKETS = [aten.floor_divide.default, aten.div.Tensor_mode, aten.bitwise_and.Scalar, aten.bitwise_xor.Scalar]
RULES: dict[Any, Rule] = {
    **rows(BUCKETS, Rule(None, tokens="shifts")),
    aten.masked_scatter.default: Rule(None, tokens="keeps"),
}

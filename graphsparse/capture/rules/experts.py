"""Mixtures of experts: one grouped product over stacked parameters. Any token may go to any expert, but experts do not mix.

What an expert computes stays its own (`Routed`) while operations go element by element. Any other operation sees rows of
which each may come from any expert.
"""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.routed import Routed
from graphsparse.capture.table import Rule
from graphsparse.capture.units import canonical
from graphsparse.capture.values import Units, Weight
from graphsparse.capture.wiring import dense, grouped

aten = torch.ops.aten


def grouped_product(call: Call, value: Units, weight: Any, *rest: Any, **kwargs: Any) -> Any:
    """value (rows, inputs) times weight (experts, inputs, outputs), each row with some expert's matrix."""
    call.say_conservative("the expert is chosen from the input: any token may go to any expert")
    assert isinstance(weight, Weight)
    experts, inputs, outputs = weight.shape
    ids = value.experts if isinstance(value, Routed) else call.ids(value).expand(experts, *value.shape)
    ids = canonical(ids)
    rows = ids.narrow(1, 0, 1) if ids.stride(1) == 0 else ids  # where any token may stand in any row, one is enough
    made = dense(call.draft, rows.mT.reshape(experts, inputs, -1), weight, grouped(weight.layout.mT))
    return Routed(made.mT.expand(experts, value.shape[0], outputs), call.united)


RULES: dict[Any, Rule] = {
    aten._grouped_mm.default: Rule(grouped_product),
    "transformers.grouped_mm_fallback.default": Rule(grouped_product),  # it exists once its library is imported
}

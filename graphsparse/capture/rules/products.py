"""Products: zero if either operand is zero, signal if either is signal and the other not zero."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.mechanics import steps
from graphsparse.capture.mechanics.arithmetic import divide, multiply
from graphsparse.capture.table import Rule

aten = torch.ops.aten
RULES: dict[Any, Rule] = {
    aten.mul.Tensor: Rule(
        multiply, weights="cuts", tokens="shifts", waits=steps.scaled, per_expert=True, flows="multiplies"
    ),
    aten.mul.Scalar: Rule(multiply, tokens="shifts", waits=steps.scaled, per_expert=True, flows="multiplies"),
    aten.div.Tensor: Rule(divide, waits=steps.scaled, per_expert=True, flows="divides"),
    aten.div.Scalar: Rule(divide, waits=steps.scaled, flows="divides"),
}

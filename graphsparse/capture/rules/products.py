"""Products: zero if either operand is zero, signal if either is signal and the other not zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture.mechanics import steps
from graphsparse.capture.mechanics.arithmetic import divide, multiply
from graphsparse.capture.table import Rule

aten = torch.ops.aten
TIMES = Rule(multiply, weights="cuts", tokens="shifts", waits=steps.scaled, per_expert=True, flows="multiplies")
OVER = Rule(divide, weights="function", waits=steps.scaled, flows="divides")
RULES: dict[Any, Rule] = {
    aten.mul.Tensor: TIMES,
    aten.mul.Scalar: replace(TIMES, weights="function"),
    aten.div.Tensor: replace(OVER, per_expert=True),
    aten.div.Scalar: OVER,
}

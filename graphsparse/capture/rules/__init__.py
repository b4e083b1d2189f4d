"""The table of operations: one row says all that is known of an operation (`graphsparse.capture.table.Rule`).

One file per family. No family imports another: what they share is in `graphsparse.capture.mechanics`. `embedding` is the
shortest to imitate. To add an operation without touching the package, give
``extra_rules={torch.ops.aten.name.default: rule}`` to `graphsparse.export`.
"""

from __future__ import annotations

from graphsparse.capture.rules import (
    arithmetic,
    attention,
    bodies,
    convolution,
    embedding,
    experts,
    interpolation,
    linear,
    movement,
    normalisation,
    pointwise,
    pooling,
    recurrent,
    reductions,
    selection,
)
from graphsparse.capture.table import Rule, Table

__all__ = ["RULES", "Rule"]

_FAMILIES = (
    arithmetic, attention, bodies, convolution, embedding, experts, interpolation, linear, movement, normalisation,
    pointwise, pooling, recurrent, reductions, selection,
)  # fmt: skip
RULES: Table = {operation: row for family in _FAMILIES for operation, row in family.RULES.items()}

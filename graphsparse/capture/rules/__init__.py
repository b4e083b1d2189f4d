"""The table of operations: one row says all that is known of an operation (`graphsparse.capture.table.Rule`).

One file per family. No family imports another: what they share is in `graphsparse.capture.mechanics`. `embedding` is the
shortest to imitate. To add an operation without touching the package, give
``extra_rules={torch.ops.aten.name.default: rule}`` to `graphsparse.export`.
"""

from __future__ import annotations

from graphsparse.capture.rules import (
    attention,
    bodies,
    convolution,
    embedding,
    experts,
    integers,
    interpolation,
    linear,
    movement,
    normalisation,
    pointwise,
    pooling,
    products,
    recurrent,
    reductions,
    selection,
    softmax,
    sums,
)
from graphsparse.capture.table import Rule, Table

__all__ = ["RULES", "Rule"]

RULES: Table = {
    **movement.RULES,
    **pointwise.RULES,
    **sums.RULES,
    **products.RULES,
    **reductions.RULES,
    **selection.RULES,
    **linear.RULES,
    **convolution.RULES,
    **recurrent.RULES,
    **pooling.RULES,
    **interpolation.RULES,
    **normalisation.RULES,
    **embedding.RULES,
    **softmax.RULES,
    **attention.RULES,
    **experts.RULES,
    **bodies.RULES,
    **integers.RULES,
}

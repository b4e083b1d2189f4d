"""One table of operations: what each does to unit ids. A file a family; `pointwise` is the shortest to imitate.

A rule is a function ``rule(call, *args, **kwargs)`` that takes the operation's own arguments, tensors replaced by
`Units`, `Weight` or `Known`, and returns such a value (or a tuple of them). ``call.draft`` makes units. To add one
without touching the package, give ``extra_rules={torch.ops.aten.name.default: rule}`` to `graphsparse.export`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphsparse.capture.rules import (
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
    products,
    reductions,
    selection,
    softmax,
    spectra,
    sums,
)

Rule = Callable[..., Any]

RULED: Mapping[Any, Any] = {
    **movement.RULES,
    **pointwise.RULES,
    **sums.RULES,
    **products.RULES,
    **reductions.RULES,
    **selection.RULES,
    **linear.RULES,
    **convolution.RULES,
    **pooling.RULES,
    **interpolation.RULES,
    **spectra.RULES,
    **normalisation.RULES,
    **embedding.RULES,
    **softmax.RULES,
    **attention.RULES,
    **experts.RULES,
    **bodies.RULES,
}
RULES: Mapping[Any, Rule] = attention.waiting(experts.stacked(normalisation.by_hand(RULED)))
PRODUCTS = linear.PRODUCTS
TAKES_KERNEL: Mapping[Any, int] = {**linear.TAKES_KERNEL, **convolution.TAKES_KERNEL}
"""Where an operation holds a kernel: its connections count even where what it reads is constant."""

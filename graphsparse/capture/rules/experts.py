"""Mixtures of experts: one grouped product over stacked parameters. Any token may go to any expert, but experts do not mix.

What an expert computes stays its own (`Routed`) as long as operations go element by element; whatever else reads it sees
that each row may come from any expert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.rules.linear import dense, grouped
from graphsparse.capture.units import canonical
from graphsparse.capture.values import Known, Units, Weight

aten = torch.ops.aten
ANY_EXPERT = "the expert is chosen from the input: any token may go to any expert"


class Routed(Units):
    """Rows (rows, features) of which each is some expert's: ``experts`` (experts, rows, features) are the ids of all of them."""

    def __init__(self, experts: torch.Tensor, union: Callable[[torch.Tensor], torch.Tensor]):
        for name, value in {"experts": experts, "union": union}.items():
            object.__setattr__(self, name, value)

    experts: torch.Tensor
    union: Callable[[torch.Tensor], torch.Tensor]

    @cached_property
    def ids(self) -> torch.Tensor:
        """The unit of each element, which any of the experts may have made."""
        return self.union(self.experts.movedim(0, -1))

    @property
    def shape(self) -> torch.Size:
        return self.experts.shape[1:]


def grouped_product(call: Call, value: Units, weight, offsets=None, bias=None, *rest, **kwargs):
    """value (rows, inputs) times weight (experts, inputs, outputs), each row with some expert's matrix."""
    call.say_conservative(ANY_EXPERT)
    assert isinstance(weight, Weight)
    experts, inputs, outputs = weight.shape
    ids = value.experts if isinstance(value, Routed) else call.ids(value).expand(experts, *value.shape)
    ids = canonical(ids)
    rows = ids.narrow(1, 0, 1) if ids.stride(1) == 0 else ids  # where any token may stand in any row, one is enough
    made = dense(call, rows.mT.reshape(experts, inputs, -1), weight, grouped(weight.layout.mT))
    return Routed(made.mT.expand(experts, value.shape[0], outputs), call.draft.rows)


def routed(rules: Mapping[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    """The rules, of which those that go element by element leave experts apart."""
    return {**rules, **{target: _apart(rules[target]) for target in ELEMENTWISE if target in rules}}


def _apart(rule: Callable[..., Any]) -> Callable[..., Any]:
    def each(call: Call, *args, **kwargs):
        first = next((a for a in args if isinstance(a, Routed)), None)
        if first is None or not all(_fits(a, first) for a in args):
            return rule(call, *args, **kwargs)
        given = [Units(a.experts) if isinstance(a, Routed) else a for a in args]
        made = rule(replace(call, shape=torch.Size([len(first.experts), *call.shape])), *given, **kwargs)
        back = [Routed(part.ids, first.union) for part in (made if isinstance(made, tuple) else (made,))]
        return tuple(back) if isinstance(made, tuple) else back[0]

    return each


def _fits(argument: Any, first: Routed) -> bool:
    """Whether an argument means the same for a stack of experts: numbers that are no leading axis, values that broadcast."""
    if isinstance(argument, Routed):
        return len(argument.experts) == len(first.experts)
    return not isinstance(argument, (Units, Known, Weight)) or len(argument.shape) <= len(first.shape)


SPLITS = [aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default]
ELEMENTWISE = [
    aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.silu.default, aten.gelu.default, aten.relu.default,
    aten.sigmoid.default, aten.tanh.default, aten.clamp.default, aten.add.Tensor, aten.add.Scalar,
    aten._to_copy.default, aten.clone.default, aten.alias.default,
]  # fmt: skip


def last_axis(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A split of the last axis, counted from the end so that it is the same for a stack."""
    apart = _apart(rule)

    def split(call: Call, value, sizes, dim: int = 0):
        whole = isinstance(value, Routed) and dim % len(value.shape) == len(value.shape) - 1
        return apart(call, value, sizes, -1) if whole else rule(call, value, sizes, dim)

    return split


def stacked(rules: Mapping[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    """`routed`, and splits of the features of every expert."""
    return {**routed(rules), **{target: last_axis(rules[target]) for target in SPLITS}}


RULES: dict[Any, Any] = {
    "transformers.grouped_mm_fallback.default": grouped_product,
    **({aten._grouped_mm.default: grouped_product} if hasattr(aten, "_grouped_mm") else {}),
}
"""By name where the operation exists only once its library is imported."""

"""Sums of values: signal if any operand is, and a constant lifts zero. So is every function of several values here."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import steps
from graphsparse.capture.mechanics.arithmetic import add, divide, multiply
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.values import Known, Units, Value, Weight

aten = torch.ops.aten


def both(call: Call, left: Any, right: Any, alpha: float = 1) -> Any:
    """The maximum or minimum of two values, either of which may be chosen; right - alpha * left."""
    return add(call, left, right)


def between(call: Call, start: Any, end: Any, weight: Any) -> Any:
    """start + weight * (end - start); a weight that an input moves moves the result."""
    made = add(call, start, end)
    return add(call, made, weight) if isinstance(weight, Units) else made


def add_product(call: Call, start: Any, left: Any, right: Any, *, value: float = 1) -> Any:
    """start + value * left * right."""
    return start if value == 0 else add(call, start, times(call, left, right))


def add_quotient(call: Call, start: Any, left: Any, right: Any, *, value: float = 1) -> Any:
    """start + value * left / right."""
    return start if value == 0 else add(call, start, divide(call, left, right))


def times(call: Call, left: Value, right: Value) -> Value:
    """A product of two values of which neither need be moved by an input."""
    if isinstance(left, Units) or isinstance(right, Units):
        return multiply(call, left, right)
    zero = (call.ids(left) == 0) | (call.ids(right) == 0)
    return Known((~zero).double())


def mixture(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Any function of values of broadcastable shapes: it depends on all of them; lifted where it is not zero at zero."""
    values = [a for a in args if isinstance(a, (Units, Weight, Known))]
    units = [a for a in values if isinstance(a, Units)]
    made = call.union(units) if len(units) > 1 else units[0]
    made = Units(made.ids.expand(torch.broadcast_shapes(*(value.shape for value in values))))
    if any(isinstance(a, Weight) or isinstance(a, Known) and not a.known for a in values):
        return call.lift(made)
    at_zero = call.target(*(_at_zero(a) for a in args), **kwargs)
    return call.lift(made, where=(at_zero != 0).expand(made.shape)) if bool((at_zero != 0).any()) else made


def _at_zero(argument: Any) -> Any:
    if isinstance(argument, Units):
        return torch.zeros([1] * len(argument.shape), dtype=torch.float64)
    return argument.tensor if isinstance(argument, Known) else argument


MIXTURES = [
    aten.atan2.default, aten.hypot.default, aten.logaddexp.default, aten.logaddexp2.default, aten.fmod.Tensor,
    aten.remainder.Tensor, aten.pow.Tensor_Tensor, aten.copysign.Tensor, aten.heaviside.default, aten.nextafter.default,
    aten.clamp.Tensor, aten.clamp_min.Tensor, aten.clamp_max.Tensor, aten.complex.default, aten.polar.default,
]  # fmt: skip
EXTREMA = [
    aten.maximum.default, aten.minimum.default, aten.max.other, aten.min.other, aten.fmax.default, aten.fmin.default,
]  # fmt: skip
SUM = Rule(add, weights="adds", tokens="shifts", waits=steps.shifted, per_expert=True, norm="shifts", flows="adds")
RULES: dict[Any, Rule] = {
    **rows([aten.add.Tensor, aten.sub.Tensor], SUM),
    aten.rsub.Tensor: Rule(both, norm="shifts", flows="adds"),
    **rows(EXTREMA, Rule(both, flows="adds")),
    **rows([aten.lerp.Tensor, aten.lerp.Scalar], Rule(between)),
    aten.addcmul.default: Rule(add_product),
    aten.addcdiv.default: Rule(add_quotient),
    **rows(MIXTURES, Rule(mixture)),
}

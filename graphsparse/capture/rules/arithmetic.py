"""Sums, products, and other functions of several values, element by element.

A sum is signal if any operand is, and a constant lifts zero. A product is zero if either operand is zero, and signal if
either is signal and the other is not zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import waiting
from graphsparse.capture.mechanics.arithmetic import add, divide, multiply
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.values import Known, Units, Value, Weight

aten = torch.ops.aten


def reversed_sum(call: Call, left: Any, right: Any, *, alpha: float = 1) -> Any:
    """right - alpha * left."""
    return add(call, right, left, alpha=alpha)


def between(call: Call, start: Any, end: Any, weight: Any) -> Any:
    """start + weight * (end - start); a weight that an input moves moves the result."""
    made = add(call, start, end)
    return add(call, made, weight) if isinstance(weight, Units) else made


def plus(make: Callable[..., Any], call: Call, start: Any, left: Any, right: Any, *, value: float = 1) -> Any:
    """start + value * a product or quotient of left and right, which ``make`` gives."""
    return start if value == 0 else add(call, start, make(call, left, right))


def times(call: Call, left: Value, right: Value) -> Value:
    """A product of two values of which neither need be moved by an input."""
    if isinstance(left, Units) or isinstance(right, Units):
        return multiply(call, left, right)
    zero = (call.ids(left) == 0) | (call.ids(right) == 0)
    return Known((~zero).double())


def mixture(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Any function of values that broadcast: it depends on all of them, and is lifted where it is not zero at zero."""
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


MIXTURES = """
    atan2 hypot logaddexp logaddexp2 fmod.Tensor remainder.Tensor pow.Tensor_Tensor copysign.Tensor heaviside nextafter
    clamp.Tensor clamp_min.Tensor clamp_max.Tensor complex polar
"""
SUM = Rule(add, weights="adds", tokens="shifts", waits=waiting.shifted, per_expert=True, norm="shifts", flows="adds")
TIMES = Rule(multiply, weights="cuts", tokens="shifts", waits=waiting.scaled, per_expert=True, flows="multiplies")
OVER = Rule(divide, weights="function", waits=waiting.scaled, flows="divides")
RULES: dict[Any, Rule] = {
    **rows("add.Tensor sub.Tensor", SUM),
    aten.rsub.Tensor: Rule(reversed_sum, norm="shifts", flows="adds"),
    **rows("maximum minimum max.other min.other fmax fmin", Rule(add, flows="adds")),
    **rows("lerp.Tensor lerp.Scalar", Rule(between)),
    aten.mul.Tensor: TIMES,
    aten.mul.Scalar: replace(TIMES, weights="function"),
    aten.div.Tensor: replace(OVER, per_expert=True),
    aten.div.Scalar: OVER,
    aten.addcmul.default: Rule(partial(plus, times)),
    aten.addcdiv.default: Rule(partial(plus, divide)),
    **rows(MIXTURES, Rule(mixture)),
}

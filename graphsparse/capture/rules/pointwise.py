"""Functions of one element: where f(0) = 0 the unit passes, elsewhere a zero becomes a constant.

Functions of integers stand here too. Tokens go through some, and so do the units of an integer input that the model
computes with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import waiting
from graphsparse.capture.mechanics.arithmetic import pairwise
from graphsparse.capture.table import Rule, named, rows
from graphsparse.capture.units import NOTHING
from graphsparse.capture.values import Known, Masked, Units

aten = torch.ops.aten


def function(call: Call, *args: Any, **kwargs: Any) -> Any:
    """A function of one value: f(0), with the call's other arguments as they are, decides whether it is lifted."""
    value = next(a for a in args if isinstance(a, Units))
    zero = torch.zeros(1, dtype=torch.complex128 if call.dtype.is_complex else torch.float64)
    at_zero = call.target(*(zero if a is value else a for a in args), **kwargs)
    return value if bool((at_zero == 0).all()) else call.lift(value)


def exponential(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """Never zero, except where the value is minus infinity."""
    made = function(call, value, *args, **kwargs)
    return Units(torch.where(value.hidden, NOTHING, made.ids)) if isinstance(value, Masked) else made


def passes(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """Zero at zero whatever the other arguments are: rounding, a slope that is a parameter, noise that is off."""
    return value


def gated(call: Call, value: Units, dim: int = -1) -> Any:
    """glu: the first half of an axis times the sigmoid of the second, which is never zero."""
    first, second = value.ids.chunk(2, dim)
    return pairwise(call, Units(first), call.lift(Units(second)))


def made_like(call: Call, *args: Any, **kwargs: Any) -> Any:
    """A new tensor that has only the shape of a value: a constant, known unless it is random."""
    if call.target in RANDOM:
        return call.constants()
    name = str(call.target)
    filling = args[-1] if "full" in name or "fill" in name else float("ones" in name)
    if isinstance(filling, Units):
        return filling
    number = torch.as_tensor(getattr(filling, "tensor", filling)).to(call.dtype)
    return Known(number.expand(call.shape))


def of_integers(call: Call, *args: Any, **kwargs: Any) -> Units:
    """Any function of integers of broadcastable shapes: it depends on all of them, and need not be zero at zero."""
    made = call.union([a for a in args if isinstance(a, Units)])
    return call.lift(Units(made.ids.expand(call.shape)))


def one_hot(call: Call, value: Units, *rest: Any, **kwargs: Any) -> Units:
    """Each number of a row of zeros and a one depends on the integer that says where the one is."""
    return call.lift(Units(value.ids.unsqueeze(-1).expand(call.shape)))


NAMES = """
    relu relu6 gelu silu mish hardsigmoid hardswish hardtanh leaky_relu elu selu celu softplus softshrink
    hardshrink log_sigmoid threshold expm1 log log1p log2 log10 sqrt rsqrt reciprocal sin cos tan sinh cosh
    asinh atan asin acos acosh atanh erf erfc erfinv square sgn logit nan_to_num positive digamma lgamma i0
    special_expit special_entr special_i0e special_i1 special_ndtri special_log_ndtr special_erfcx sinc
    rad2deg deg2rad angle
"""
SHIFTING = "clamp clamp_min clamp_max abs neg add.Scalar sub.Scalar rsub.Scalar fmod.Scalar remainder.Scalar"
"""Functions that integers go through too: of a token they make another token."""
PASSES = """
    sign floor ceil round round.decimals trunc fix frac _prelu_kernel prelu rrelu rrelu_with_noise
    rrelu_with_noise_functional fake_quantize_per_tensor_affine real imag _conj conj conj_physical resolve_conj resolve_neg
    _conj_physical
"""
RANDOM = named("rand_like randn_like bernoulli bernoulli.p normal_functional")
LIKE = RANDOM + named("""
    zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty new_empty_strided fill.Scalar
    fill.Tensor zero
""")
INTEGERS = """
    bitwise_and.Tensor bitwise_and.Scalar bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor bitwise_xor.Scalar
    bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar bitwise_right_shift.Tensor
    bitwise_right_shift.Tensor_Scalar bitwise_not floor_divide floor_divide.Scalar __and__.Tensor __and__.Scalar
    __or__.Tensor __or__.Scalar __xor__.Tensor __xor__.Scalar __lshift__.Tensor __lshift__.Scalar __rshift__.Tensor
    __rshift__.Scalar logical_not logical_and logical_or logical_xor div.Scalar_mode
"""
BUCKETS = "floor_divide bitwise_and.Scalar bitwise_xor.Scalar div.Tensor_mode"
FUNCTION = Rule(function, weights="function", flows="function")
BY_EXPERT = replace(FUNCTION, per_expert=True)
RULES: dict[Any, Rule] = {
    **rows(NAMES, BY_EXPERT),
    **rows(SHIFTING, replace(BY_EXPERT, tokens="shifts")),
    aten.tanh.default: replace(BY_EXPERT, waits=waiting.kept),
    aten.pow.Tensor_Scalar: FUNCTION,
    **rows("pow.Scalar polygamma mvlgamma", replace(FUNCTION, flows="")),
    **rows("exp exp2", replace(FUNCTION, apply=exponential)),
    aten.sigmoid.default: replace(BY_EXPERT, apply=exponential),
    **rows(PASSES, Rule(passes, weights="function", flows="keeps")),
    **rows(LIKE, Rule(made_like)),
    aten.glu.default: Rule(gated),
    **rows(INTEGERS, Rule(None, counts=of_integers)),
    **rows(BUCKETS, Rule(None, tokens="shifts", counts=of_integers)),
    aten.one_hot.default: Rule(None, counts=one_hot),
    aten.masked_scatter.default: Rule(None, tokens="keeps"),
}

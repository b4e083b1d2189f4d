"""Functions of one element: where f(0) = 0 the unit passes, elsewhere a zero becomes a constant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import steps
from graphsparse.capture.mechanics.arithmetic import pairwise
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import NOTHING
from graphsparse.capture.values import Known, Masked, Units

aten = torch.ops.aten


def function(call: Call, *args: Any, **kwargs: Any) -> Any:
    """Decided by the value of f at zero, with the call's own constants."""
    value = next(a for a in args if isinstance(a, Units))
    zero = torch.zeros(1, dtype=torch.complex128 if call.dtype.is_complex else torch.float64)
    at_zero = call.target(*(zero if a is value else a for a in args), **kwargs)
    return value if bool((at_zero == 0).all()) else call.lift(value)


def exponential(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """Never zero, but for where the value is minus infinity."""
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
    shape, kind = torch.Size(call.shape), call.dtype
    if "ones" in str(call.target):
        return Known(torch.ones((), dtype=kind).expand(shape))
    if "full" in str(call.target) or "fill" in str(call.target):
        fill = args[-1]
        if isinstance(fill, Units):
            return fill
        return Known(torch.as_tensor(getattr(fill, "tensor", fill)).to(kind).expand(shape))
    return Known(torch.zeros((), dtype=kind).expand(shape))


NAMES = """
    relu relu6 gelu silu mish hardsigmoid hardswish hardtanh leaky_relu elu selu celu softplus softshrink tanhshrink
    hardshrink log_sigmoid threshold expm1 log log1p log2 log10 sqrt rsqrt reciprocal sin cos tan sinh cosh softsign
    asinh atan asin acos acosh atanh erf erfc erfinv square sgn logit nan_to_num positive digamma lgamma i0
    special_expit special_entr special_i0e special_i1 special_ndtri special_log_ndtr special_erfcx sinc
    rad2deg deg2rad angle
""".split()
SHIFTING = [
    aten.clamp.default, aten.clamp_min.default, aten.clamp_max.default, aten.abs.default, aten.neg.default,
    aten.add.Scalar, aten.sub.Scalar, aten.rsub.Scalar, aten.fmod.Scalar, aten.remainder.Scalar,
]  # fmt: skip
"""Functions that integers go through too: of a token they make another token."""
PASSES = [
    aten.sign.default, aten.floor.default, aten.ceil.default, aten.round.default, aten.round.decimals, aten.trunc.default,
    aten.fix.default, aten.frac.default, aten._prelu_kernel.default, aten.prelu.default, aten.rrelu.default,
    aten.rrelu_with_noise.default, aten.rrelu_with_noise_functional.default, aten.fake_quantize_per_tensor_affine.default,
    aten.real.default, aten.imag.default, aten._conj.default, aten.conj.default, aten.conj_physical.default,
    aten.resolve_conj.default, aten.resolve_neg.default, aten._conj_physical.default,
]  # fmt: skip
RANDOM = [
    aten.rand_like.default,
    aten.randn_like.default,
    aten.bernoulli.default,
    aten.bernoulli.p,
    aten.normal_functional.default,
]
LIKE = [
    aten.zeros_like.default, aten.ones_like.default, aten.full_like.default, aten.empty_like.default, aten.new_zeros.default,
    aten.new_ones.default, aten.new_full.default, aten.new_empty.default, aten.fill.Scalar, aten.fill.Tensor,
    aten.zero.default, aten.new_empty_strided.default, *RANDOM,
]  # fmt: skip
FUNCTION = Rule(function, weights="function", flows="function")
BY_EXPERT = replace(FUNCTION, per_expert=True)
RULES: dict[Any, Rule] = {
    **rows([getattr(aten, name).default for name in NAMES if hasattr(aten, name)], BY_EXPERT),
    **rows(SHIFTING, replace(BY_EXPERT, tokens="shifts")),
    aten.tanh.default: replace(BY_EXPERT, waits=steps.kept),
    aten.pow.Tensor_Scalar: FUNCTION,
    **rows([aten.pow.Scalar, aten.polygamma.default, aten.mvlgamma.default], replace(FUNCTION, flows="")),
    **rows([aten.exp.default, aten.exp2.default], replace(FUNCTION, apply=exponential)),
    aten.sigmoid.default: replace(BY_EXPERT, apply=exponential),
    **rows(PASSES, Rule(passes, weights="function", flows="keeps")),
    **rows(LIKE, Rule(made_like)),
    aten.glu.default: Rule(gated),
}

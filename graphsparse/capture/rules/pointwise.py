"""Functions of one element: where f(0) = 0 the unit passes, elsewhere a zero becomes a constant."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.values import Units

aten = torch.ops.aten


def function(call: Call, value: Units, *args, **kwargs):
    """Decided by the value of f at zero, with the call's own constants."""
    at_zero = call.target(torch.zeros(1, dtype=torch.float64), *args, **kwargs)
    return value if bool((at_zero == 0).all()) else call.draft.lift(value)


NAMES = """
    relu relu6 gelu silu mish tanh sigmoid hardsigmoid hardswish hardtanh leaky_relu elu selu celu softplus softshrink
    hardshrink tanhshrink log_sigmoid softsign threshold exp expm1 log log1p log2 log10 sqrt rsqrt reciprocal neg abs sin
    cos tan sinh cosh asinh atan asin acos erf erfc square sign
""".split()
OVERLOADS = [
    aten.pow.Tensor_Scalar, aten.clamp.default, aten.add.Scalar, aten.sub.Scalar, aten.rsub.Scalar, aten.exp2.default,
    aten.clamp_min.default, aten.clamp_max.default, aten.nan_to_num.default, aten.logit.default, aten.sgn.default,
    aten.positive.default, aten.special_expit.default, aten.rrelu.default,
]  # fmt: skip
RULES = {
    **{getattr(aten, name).default: function for name in NAMES if hasattr(aten, name)},
    **dict.fromkeys(OVERLOADS, function),
}

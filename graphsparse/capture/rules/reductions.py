"""Sums, extrema, transforms and matrix functions over axes: each result depends on every element along them."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.arithmetic import pairwise
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.values import Axes, Units

aten = torch.ops.aten


def reduce(call: Call, value: Units, *args: Any, **kwargs: Any) -> Units:
    """Sum, mean, norm, maximum or median over the axes ``dim`` of the call; over all where it names none."""
    return Units(call.united_over(value.ids, call.named([value, *args], kwargs).get("dim")).reshape(call.shape))


def lifted(call: Call, value: Units, *args: Any, **kwargs: Any) -> Units:
    """A reduction that is not zero at zero: the logarithm of a sum of exponentials."""
    return call.lift(reduce(call, value, *args, **kwargs))


def both(call: Call, value: Units, *args: Any, **kwargs: Any) -> tuple[Units, Units]:
    """Variance and mean together, or both extrema: each depends on all."""
    found = reduce(call, value, *args, **kwargs)
    return found, found


def multiplied(call: Call, value: Units, dim: int | None = None, keepdim: bool = False, **kwargs: Any) -> Units:
    """A product over an axis: zero where one factor is."""
    ids = value.ids.reshape(-1) if dim is None else value.ids.movedim(dim, 0)
    made = Units(ids[0])
    for factor in ids[1:]:
        made = pairwise(call, made, Units(factor))
    return Units(made.ids.reshape(call.shape))


def fourier(call: Call, value: Units, dim: Axes, *settings: Any, **kwargs: Any) -> Units:
    """A Fourier transform over axes, whose sizes it may change."""
    return Units(call.united_over(value.ids, dim).expand(call.shape))


def matrix(call: Call, value: Units, *settings: Any, **kwargs: Any) -> Units:
    """A function of whole matrices, the last two axes: inverses, factors, determinants."""
    call.say_conservative("every entry of a matrix function is taken to depend on the whole matrix")
    whole = call.united_over(value.ids, [-2, -1])
    return Units((whole if len(call.shape) == value.ids.dim() else whole.reshape(call.shape)).expand(call.shape))


SPREADS = [aten.amin.default, aten.max.default, aten.min.default, aten.var.default, aten.std.default]
OTHERS = [
    aten.nanmean.default, aten.nansum.default, aten.median.default, aten.nanmedian.default, aten.trace.default,
    aten.norm.Scalar, aten.median.dim, aten.kthvalue.default, aten.mode.default,
]  # fmt: skip
IN_NORMS = [
    aten.var.correction, aten.var.dim, aten.std.correction, aten.std.dim, aten.amax.default,
    aten.linalg_vector_norm.default, aten.norm.ScalarOpt_dim,
]  # fmt: skip
PAIRS = [aten.var_mean.correction, aten.std_mean.correction, aten.var_mean.dim, aten.std_mean.dim]
MATRIX_FUNCTIONS = [
    aten.linalg_inv.default, aten.inverse.default, aten.linalg_cholesky.default, aten.linalg_det.default,
    aten.linalg_matrix_exp.default, aten.linalg_pinv.default,
]  # fmt: skip
RULES: dict[Any, Rule] = {
    **rows([aten.mean.default, aten.sum.default], Rule(reduce, flows="moves")),
    **rows([aten.mean.dim, aten.sum.dim_IntList], Rule(reduce, norm="measures", flows="moves")),
    **rows(SPREADS, Rule(reduce, flows="averages")),
    **rows(IN_NORMS, Rule(reduce, norm="measures", flows="averages")),
    **rows([aten.max.dim, aten.min.dim], Rule(reduce, flows="extremum")),
    **rows(OTHERS, Rule(reduce)),
    **rows(PAIRS, Rule(both, norm="measures")),
    aten.aminmax.default: Rule(both),
    aten.logsumexp.default: Rule(lifted, flows="averages"),
    **rows([aten.prod.default, aten.prod.dim_int], Rule(multiplied)),
    **rows([aten._fft_r2c.default, aten._fft_c2r.default, aten._fft_c2c.default], Rule(fourier)),
    **rows(MATRIX_FUNCTIONS, Rule(matrix)),
}

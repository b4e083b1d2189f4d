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


def distances(call: Call, left: Any, right: Any, *settings: Any) -> Units:
    """The distance of every row of one value from every row of another depends on both."""
    rows, others = (call.united_over(call.ids(value), -1) for value in (left, right))
    return Units(call.union([Units(rows), Units(others.mT)]).ids.expand(call.shape))


def matrix(call: Call, value: Units, *settings: Any, **kwargs: Any) -> Units:
    """A function of whole matrices, the last two axes: inverses, factors, determinants."""
    call.say_conservative("every entry of a matrix function is taken to depend on the whole matrix")
    whole = call.united_over(value.ids, [-2, -1])
    return Units((whole if len(call.shape) == whole.dim() else whole[..., 0, 0]).expand(call.shape))


SPREADS = "amin max min var std"
OTHERS = "nanmean nansum median nanmedian trace norm.Scalar median.dim kthvalue mode"
IN_NORMS = "var.correction var.dim std.correction std.dim amax linalg_vector_norm norm.ScalarOpt_dim"
MATRIX_FUNCTIONS = "linalg_inv inverse linalg_cholesky linalg_det linalg_matrix_exp linalg_pinv"
RULES: dict[Any, Rule] = {
    **rows("mean sum", Rule(reduce, flows="moves")),
    **rows("mean.dim sum.dim_IntList", Rule(reduce, norm="measures", flows="moves")),
    **rows(SPREADS, Rule(reduce, flows="averages")),
    **rows(IN_NORMS, Rule(reduce, norm="measures", flows="averages")),
    **rows("max.dim min.dim", Rule(reduce, flows="extremum")),
    **rows(OTHERS, Rule(reduce)),
    **rows("var_mean.correction std_mean.correction var_mean.dim std_mean.dim", Rule(both, norm="measures")),
    aten.aminmax.default: Rule(both),
    aten.logsumexp.default: Rule(lifted, flows="averages"),
    **rows("prod prod.dim_int", Rule(multiplied)),
    **rows("_fft_r2c _fft_c2r _fft_c2c", Rule(fourier)),
    aten._cdist_forward.default: Rule(distances),
    **rows(MATRIX_FUNCTIONS, Rule(matrix)),
}

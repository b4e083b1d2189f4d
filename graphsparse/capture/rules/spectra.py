"""Fourier transforms and matrix functions: each result depends on every element along the axes."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.values import Axes, Units

aten = torch.ops.aten


def transform(call: Call, value: Units, dim: Axes, *settings: Any, **kwargs: Any) -> Any:
    """A Fourier transform over axes, whose sizes it may change."""
    return Units(call.united_over(value.ids, dim).expand(call.shape))


def matrix(call: Call, value: Units, *settings: Any, **kwargs: Any) -> Any:
    """A function of whole matrices, the last two axes: inverses, factors, determinants."""
    call.say_conservative("every entry of a matrix function is taken to depend on the whole matrix")
    whole = call.united_over(value.ids, [-2, -1])
    return Units((whole if len(call.shape) == value.ids.dim() else whole.reshape(call.shape)).expand(call.shape))


MATRIX_FUNCTIONS = [
    aten.linalg_inv.default, aten.inverse.default, aten.linalg_cholesky.default, aten.linalg_det.default,
    aten.linalg_matrix_exp.default, aten.linalg_pinv.default,
]  # fmt: skip
RULES: dict[Any, Rule] = {
    **rows([aten._fft_r2c.default, aten._fft_c2r.default, aten._fft_c2c.default], Rule(transform)),
    **rows(MATRIX_FUNCTIONS, Rule(matrix)),
}

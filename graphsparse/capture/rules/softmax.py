"""Softmax: never zero, and moved wherever any entry along its axis is."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.rules.matrices import row_dots
from graphsparse.capture.rules.reductions import over_axes
from graphsparse.capture.rules.unions import by_pattern
from graphsparse.capture.scores import Parts, Scores
from graphsparse.capture.units import CONSTANT, NOTHING, collapse
from graphsparse.capture.values import Units

aten = torch.ops.aten


def softmax(call: Call, value: Units, dim: int, *rest, **kwargs) -> Units:
    """One unit per row, the axis repeated; over a single entry it is the constant one."""
    axis = dim % max(1, len(value.shape))
    if isinstance(value, Scores) and axis == len(value.shape) - 1:
        return Units(weights_of(call, value.parts))
    if not value.shape or value.shape[axis] == 1:
        return Units(torch.full((), CONSTANT).expand(call.shape))
    return Units(lifted(call, over_axes(call, value.ids, axis)).expand(call.shape))


def log_softmax(call: Call, value: Units, dim: int, *rest, **kwargs) -> Units:
    """As softmax; over a single entry it is zero."""
    if not value.shape or value.shape[dim] == 1:
        return Units(torch.full((), NOTHING).expand(call.shape))
    return softmax(call, value, dim)


def softmin_free(call: Call, value: Units, *rest, **kwargs) -> Units:
    """softmax that gives zero on rows of which nothing is seen."""
    return softmax(call, value, *rest)


def weights_of(call: Call, parts: Parts) -> torch.Tensor:
    """The ids (..., rows, columns) of the softmax of scores: a unit per row, zero where the mask hides an entry.

    Exact without a gate an element: a sum of products over columns is the product with the union of the columns.
    """
    shape = parts.shape
    allowed = parts.opened() if call.draft.unrolled else None  # positions are collapsed in channel resolution
    row = _row(call, parts, allowed)
    single = allowed.sum(-1) == 1 if allowed is not None else torch.tensor(shape[-1] == 1)
    row = row if not bool(single.any()) else torch.where(single, CONSTANT, row)
    whole = lifted(call, row).unsqueeze(-1)
    return (whole if allowed is None else torch.where(allowed, whole, NOTHING)).expand(shape)


def _row(call: Call, parts: Parts, allowed: torch.Tensor | None) -> torch.Tensor:
    """The ids (..., rows) of what moves each row."""
    united = by_pattern(call, parts.right, allowed)  # (..., rows or 1, inner)
    (a, b), _ = collapse(parts.left, united)
    products = row_dots(call, a, b)
    rows = [products]
    for ids in parts.added:
        if bool((ids > 0).any()):
            (seen,), _ = collapse(ids if allowed is None else torch.where(allowed, ids, NOTHING))
            rows.append(call.draft.rows(seen))
    return products if len(rows) == 1 else call.union([Units(each) for each in rows]).ids


def lifted(call: Call, ids: torch.Tensor) -> torch.Tensor:
    """Never zero."""
    return call.draft.lift(Units(ids)).ids


RULES = {
    **dict.fromkeys([aten.softmax.int, aten._softmax.default, aten._safe_softmax.default], softmax),
    **dict.fromkeys([aten.log_softmax.int, aten._log_softmax.default], log_softmax),
}

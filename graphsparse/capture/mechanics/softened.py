"""The softmax of a product that waits: one unit per row."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.matrices import row_dots
from graphsparse.capture.mechanics.unions import by_pattern
from graphsparse.capture.mechanics.waiting import Parts
from graphsparse.capture.units import CONSTANT, NOTHING, collapse
from graphsparse.capture.values import Units


def weights_of(call: Call, parts: Parts) -> torch.Tensor:
    """The ids (..., rows, columns) of the softmax of scores: a unit per row, zero where the mask hides an entry.

    Exact without a gate an element: a sum of products over columns is the product with the union of the columns.
    """
    shape = parts.shape
    allowed = parts.opened() if call.unrolled else None  # positions are collapsed in channel resolution
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
            rows.append(call.united(seen))
    return products if len(rows) == 1 else call.union([Units(each) for each in rows]).ids


def lifted(call: Call, ids: torch.Tensor) -> torch.Tensor:
    """Never zero."""
    return call.lift(Units(ids)).ids

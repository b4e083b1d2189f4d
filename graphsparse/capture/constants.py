"""Values that no input moves: computed, not ruled. Rotary tables, masks, positions and indices come out as numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.table import Rule
from graphsparse.capture.values import Known

CPU = torch.device("cpu")


def compute(node: Node, row: Rule, args: tuple, kwargs: dict) -> Any:
    """Run the operation on the numbers; where they are not known (meta device), keep the shape alone.

    An integer input that is moved, filled, shifted or put into buckets stays a token: any index may come in its place.
    Comparisons, sums along an axis and places of maxima do not: masks and positions are constants.
    """
    token = _token(row, args)
    plain = tree_map(
        lambda a: a.tensor if isinstance(a, Known) else CPU if isinstance(a, torch.device) else a, (args, kwargs)
    )
    try:
        if callable(node.target):
            result = node.target(*plain[0], **plain[1])
    except (RuntimeError, NotImplementedError):  # a mixture of known and meta tensors
        result = tree_map(_shape_only, node.meta.get("val"))
    return tree_map(lambda r: Known(r, token) if isinstance(r, torch.Tensor) else r, result)


def _shape_only(value: Any) -> Any:
    return torch.empty(value.shape, dtype=value.dtype, device="meta") if isinstance(value, torch.Tensor) else value


def _token(row: Rule, args: tuple) -> str | None:
    """Which integer input the result holds indices of: a token stays one among plain numbers, but not beside a tensor.

    The sum of two tensors makes positions (a mask times its running sum), and positions are constants.
    """
    tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Known)]
    if not row.tokens or row.tokens == "shifts" and sum(leaf.tensor.dim() > 0 for leaf in tensors) != 1:
        return None
    return next((leaf.token for leaf in tensors if leaf.token), None)

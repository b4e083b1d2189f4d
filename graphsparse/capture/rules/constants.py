"""Values that no input moves: computed, not ruled. Rotary tables, masks, positions and indices come out as numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_map

from graphsparse.capture.rules import movement
from graphsparse.capture.values import Known

CPU = torch.device("cpu")
TOKEN_KEEPING = {*movement.KEEPS, *movement.MOVES, *movement.SHAPES, torch.ops.aten.expand.default}


def compute(node: Node, args: tuple, kwargs: dict) -> Any:
    """Run the operation on the numbers; where they are not known (meta device), keep the shape alone.

    An integer input that is only moved stays a token: any index may come in its place.
    """
    token = _token(args) if node.target in TOKEN_KEEPING else None
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


def _token(args: tuple) -> str | None:
    return next((a.token for a in args if isinstance(a, Known) and a.token), None)

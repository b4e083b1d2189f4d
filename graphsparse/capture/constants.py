"""Values that no input changes are computed, and no rule is called: rotary tables, masks, positions, indices."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.nodes import called
from graphsparse.capture.operations import is_computed
from graphsparse.capture.table import Rule
from graphsparse.capture.values import Known
from graphsparse.errors import CaptureError, brief

CPU = torch.device("cpu")


def compute(node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the operation on the numbers; where they are not known (meta device), keep the shape alone.

    Operations of which nothing is known (see `graphsparse.capture.operations`) are not run: they may do more than compute.

    An integer input that is moved, filled, shifted or put into buckets stays a token: any index may come in its place.
    Comparisons, sums along an axis and places of maxima do not: masks and positions are constants.
    """
    token = _token(row, args)
    plain = tree_map(
        lambda a: a.tensor if isinstance(a, Known) else CPU if isinstance(a, torch.device) else a, (args, kwargs)
    )
    result = _computed(node, *plain) if is_computed(node.target) else tree_map(_shape_only, node.meta.get("val"))
    return tree_map(lambda r: Known(r, token) if isinstance(r, torch.Tensor) else r, result)


def _computed(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if len({leaf.is_meta for leaf in tensors}) > 1:  # some are not known; scatter would read numbers that are not there
        return tree_map(_shape_only, node.meta.get("val"))
    try:
        result = called(node, args, kwargs)
    except RuntimeError:  # of an operation that has no form for these devices, NotImplementedError too
        return tree_map(_shape_only, node.meta.get("val"))
    except Exception as error:  # an index out of range, say
        raise CaptureError(
            "an operation on constants must be one that torch can run", place=f"{node.name} ({node.target})",
            received=brief(error), way_out="try the model on its example inputs",
        ) from error  # fmt: skip
    if "empty" in str(node.target):  # whatever the memory held before is no constant of the model
        tree_map(lambda made: made.zero_() if isinstance(made, torch.Tensor) and not made.is_meta else made, result)
    return result


def _shape_only(value: Any) -> Any:
    return torch.empty(value.shape, dtype=value.dtype, device="meta") if isinstance(value, torch.Tensor) else value


def _token(row: Rule, args: tuple[Any, ...]) -> str | None:
    """Which integer input the result holds indices of: a token stays one among plain numbers, but not beside a tensor.

    The sum of two tensors makes positions (a mask times its running sum), and positions are constants.
    """
    tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Known)]
    if not row.tokens or row.tokens == "shifts" and sum(leaf.tensor.dim() > 0 for leaf in tensors) != 1:
        return None
    return next((leaf.token for leaf in tensors if leaf.token), None)

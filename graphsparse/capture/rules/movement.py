"""Operations that only move elements: applied to the ids as they stand."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import waiting
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import CONSTANT, NOTHING, tidy
from graphsparse.capture.values import Units

aten = torch.ops.aten


def keep(call: Call, value: Any, *args: Any, **kwargs: Any) -> Any:
    """The value itself: a copy, a change of type or of memory layout."""
    return value


def move(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """The operation on the ids."""
    moved = call.target(value.ids, *args, **kwargs)
    if isinstance(moved, torch.Tensor):
        return Units(tidy(moved, value.ids))
    return tuple(Units(part) for part in moved)


def reshape(call: Call, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Any view that keeps the order of elements; ids have strides of their own, so it may copy."""
    if isinstance(value, Units):
        return Units(tidy(value.ids.reshape(call.shape), value.ids))
    return value.moved(lambda each: each.reshape(call.shape))  # in a shape that a value gives (view_as)


def expand(call: Call, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Repeat along axes of size one."""
    return value.moved(lambda each: each.expand(call.shape))


def cat(call: Call, values: Any, dim: int = 0) -> Any:
    """Join values along an axis; axes along which every one of them repeats stay repeated."""
    parts = [call.ids(value) for value in values if value.shape != torch.Size([0])]
    dim %= parts[0].dim()
    for axis in range(parts[0].dim()):
        if axis != dim and all(part.stride(axis) == 0 or part.size(axis) == 1 for part in parts):
            parts = [part.narrow(axis, 0, 1) for part in parts]
    return Units(torch.cat(parts, dim).expand(call.shape))


def stack(call: Call, values: Any, dim: int = 0) -> Any:
    """Join values along a new axis."""
    dim %= len(call.shape)
    return cat(call, [Units(call.ids(v).unsqueeze(dim)) for v in values], dim)


def pad(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """Zero padding is no unit; any other constant is a constant; reflection and repetition move elements."""
    given = call.named([value, *args], kwargs)
    sizes, mode = given["pad"], given.get("mode", "constant")
    if mode == "constant":
        return Units(torch.nn.functional.pad(value.ids, sizes, value=CONSTANT if given["value"] else NOTHING))
    return Units(torch.nn.functional.pad(value.ids.double(), sizes, mode=mode).long())


def copy(call: Call, value: Any, source: Any, *rest: Any) -> Any:
    """What is written over the whole of a value."""
    return Units(call.ids(source).expand(call.shape))


def strided(call: Call, value: Units, *args: Any) -> Any:
    """A view by strides of a contiguous value.

    It reads the ids in the layout of the tensor that it was given, so it is only right on fresh ones. torch.export emits it
    for nothing but overlapping windows of a contiguous input.
    """
    return Units(tidy(call.target(value.ids.contiguous(), *args)))


def paired(call: Call, value: Units) -> Any:
    """Two real numbers as one complex one."""
    return Units(call.united(value.ids))


def unpaired(call: Call, value: Units) -> Any:
    """A complex number as two real ones, which depend on the same."""
    return Units(value.ids.unsqueeze(-1).expand(call.shape))


def repeat_each(call: Call, value: Units, repeats: Any, dim: int | None = None, **kwargs: Any) -> Any:
    """repeat_interleave by a tensor of counts."""
    return Units(tidy(torch.repeat_interleave(value.ids, repeats.tensor, dim)))


KEEPS = """
    clone contiguous alias detach dropout lift_fresh_copy _to_copy to.dtype to.dtype_layout to.device type_as
    feature_dropout alpha_dropout feature_alpha_dropout detach_copy lift_fresh lift
"""
MOVES = """
    transpose.int permute squeeze squeeze.dim squeeze.dims slice.Tensor select.int flip roll t unbind.int narrow
    pixel_shuffle pixel_unshuffle channel_shuffle unfold repeat tile movedim.int swapaxes numpy_T
    repeat_interleave.self_int diagonal rot90 tril triu movedim.intlist mT native_channel_shuffle squeeze_copy.dim
    unsafe_chunk unsafe_split.Tensor unsafe_split_with_sizes tensor_split.sections tensor_split.indices swapdims fliplr
    flipud diag matrix_H adjoint split.sizes hsplit.int vsplit.int moveaxis.int moveaxis.intlist diag_embed
"""
SHAPES = "flatten.using_ints unflatten.int view_as reshape_as ravel view_copy _reshape_copy"
RULES: dict[Any, Rule] = {
    **rows(KEEPS, Rule(keep, weights="keeps", tokens="keeps", waits=waiting.kept, per_expert=True)),
    **rows(MOVES, Rule(move, weights="moves", tokens="keeps")),
    aten.unsqueeze.default: Rule(move, weights="moves", tokens="keeps", waits=waiting.viewed),
    **rows("split.Tensor split_with_sizes chunk", Rule(move, weights="moves", tokens="keeps", per_expert="splits")),
    **rows(SHAPES, Rule(reshape, weights="reshapes", tokens="keeps")),
    **rows("view reshape _unsafe_view", Rule(reshape, weights="reshapes", tokens="keeps", waits=waiting.viewed)),
    aten.expand.default: Rule(expand, weights="moves", tokens="keeps"),
    aten.expand_as.default: Rule(expand, tokens="keeps", flows="moves"),
    aten.cat.default: Rule(cat, weights="joins", tokens="keeps", flows="moves"),
    aten.stack.default: Rule(stack, weights="joins", tokens="keeps", flows="moves"),
    aten.block_diag.default: Rule(None, weights="joins"),
    **rows("pad constant_pad_nd", Rule(pad, weights="moves", tokens="keeps", flows="pads")),
    aten.copy.default: Rule(copy, tokens="keeps", flows="moves"),
    aten.as_strided.default: Rule(strided),
    aten.view_as_complex.default: Rule(paired),
    aten.view_as_real.default: Rule(unpaired),
    aten.repeat_interleave.self_Tensor: Rule(repeat_each),
}

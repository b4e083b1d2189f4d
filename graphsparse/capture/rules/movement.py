"""Operations that only move elements: applied to the ids as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import counting, steps
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import tidy
from graphsparse.capture.values import Units

aten = torch.ops.aten


def keep(call: Call, value: Any, *args: Any, **kwargs: Any) -> Any:
    """The value itself: a copy, a change of floating type or of memory layout."""
    if isinstance(value, Units) and not call.dtype.is_floating_point and not call.dtype.is_complex:
        return call.constants()  # integers and booleans that the model computes are constants
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
    repeated = [d for d in range(parts[0].dim()) if d != dim and all(p.stride(d) == 0 or p.size(d) == 1 for p in parts)]
    for axis in repeated:
        parts = [part.narrow(axis, 0, 1) for part in parts]
    return Units(torch.cat(parts, dim).expand(call.shape))


def stack(call: Call, values: Any, dim: int = 0) -> Any:
    """Join values along a new axis."""
    dim %= len(call.shape)
    return cat(call, [Units(call.ids(v).unsqueeze(dim)) for v in values], dim)


def pad(call: Call, value: Units, pad: Sequence[int], mode: str = "constant", fill: float | None = None) -> Any:
    """Zero padding is no unit; any other constant is a constant; reflection and repetition move elements."""
    if mode == "constant":
        moved = torch.nn.functional.pad(value.ids, pad, value=0 if not fill else -1)
    else:
        moved = torch.nn.functional.pad(value.ids.double(), pad, mode=mode).long()
    return Units(moved)


def constant_pad(call: Call, value: Units, pad_sizes: Sequence[int], fill: float = 0) -> Any:
    """Constant padding."""
    return pad(call, value, pad_sizes, "constant", fill)


def copy(call: Call, value: Any, source: Any, *rest: Any) -> Any:
    """What is written over the whole of a value."""
    return Units(call.ids(source).expand(call.shape))


def strided(call: Call, value: Units, *args: Any) -> Any:
    """A view by strides of a contiguous value."""
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


KEEPS = [
    aten.clone.default, aten.contiguous.default, aten.alias.default, aten.detach.default, aten.dropout.default,
    aten.lift_fresh_copy.default, aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, aten.to.device,
    aten.type_as.default, aten.feature_dropout.default, aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default, aten.detach_copy.default, aten.lift_fresh.default, aten.lift.default,

]  # fmt: skip
MOVES = [
    aten.transpose.int, aten.permute.default, aten.squeeze.default, aten.squeeze.dim,
    aten.squeeze.dims, aten.slice.Tensor, aten.select.int, aten.flip.default, aten.roll.default, aten.t.default,
    aten.unbind.int, aten.narrow.default,
    aten.pixel_shuffle.default, aten.pixel_unshuffle.default, aten.channel_shuffle.default, aten.unfold.default,
    aten.repeat.default, aten.tile.default, aten.movedim.int, aten.swapaxes.default, aten.numpy_T.default,
    aten.repeat_interleave.self_int, aten.diagonal.default, aten.rot90.default, aten.tril.default, aten.triu.default,
    aten.movedim.intlist, aten.mT.default, aten.native_channel_shuffle.default,
    aten.squeeze_copy.dim, aten.unsafe_chunk.default, aten.unsafe_split.Tensor, aten.unsafe_split_with_sizes.default,
    aten.tensor_split.sections, aten.tensor_split.indices, aten.swapdims.default, aten.fliplr.default, aten.flipud.default,
    aten.diag.default, aten.matrix_H.default, aten.adjoint.default, aten.split.sizes,
    aten.hsplit.int, aten.vsplit.int, aten.moveaxis.int, aten.moveaxis.intlist, aten.diag_embed.default,
]  # fmt: skip
SPLITS = [aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default]
SHAPES = [
    aten.flatten.using_ints, aten.unflatten.int,
    aten.view_as.default, aten.reshape_as.default, aten.ravel.default,
    aten.view_copy.default, aten._reshape_copy.default,
]  # fmt: skip
VIEWS = [aten.view.default, aten.reshape.default, aten._unsafe_view.default]
RULES: dict[Any, Rule] = {
    **rows(KEEPS, Rule(keep, counts=counting.keep, weights="keeps", tokens="keeps", waits=steps.kept, per_expert=True)),
    **rows(MOVES, Rule(move, weights="moves", tokens="keeps")),
    aten.unsqueeze.default: Rule(move, weights="moves", tokens="keeps", waits=steps.viewed),
    **rows(SPLITS, Rule(move, weights="moves", tokens="keeps", per_expert="splits")),
    **rows(SHAPES, Rule(reshape, weights="reshapes", tokens="keeps")),
    **rows(VIEWS, Rule(reshape, weights="reshapes", tokens="keeps", waits=steps.viewed)),
    aten.expand.default: Rule(expand, weights="moves", tokens="keeps"),
    aten.expand_as.default: Rule(expand, tokens="keeps", flows="moves"),
    aten.cat.default: Rule(cat, weights="joins", tokens="keeps", flows="moves"),
    aten.stack.default: Rule(stack, weights="joins", tokens="keeps", flows="moves"),
    aten.pad.default: Rule(pad, weights="moves", tokens="keeps", flows="pads"),
    aten.constant_pad_nd.default: Rule(constant_pad, weights="moves", tokens="keeps", flows="pads"),
    aten.copy.default: Rule(copy, tokens="keeps", flows="moves"),
    aten.as_strided.default: Rule(strided),
    aten.view_as_complex.default: Rule(paired),
    aten.view_as_real.default: Rule(unpaired),
    aten.repeat_interleave.self_Tensor: Rule(repeat_each),
}
"""`as_strided` reads the ids in the layout of the tensor it was given, so it is only right on fresh ones; torch.export
emits it for nothing but overlapping windows of a contiguous input."""

"""Choosing and placing elements: at constant indices they move; at computed ones any of them may be meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import steps
from graphsparse.capture.mechanics.lookup import function_of, look_up
from graphsparse.capture.mechanics.unions import running_unions
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import by_place, collapse, tidy
from graphsparse.capture.values import Known, Masked, Units, Weight

aten = torch.ops.aten
ANY = "the index is computed from the input: any element along its axis may be meant"


def where(call: Call, condition: Known, chosen: Any, other: Any) -> Any:
    """A known condition picks, a computed one may take either."""
    if isinstance(condition, Known) and condition.known:
        parts = torch.broadcast_tensors(condition.tensor, call.ids(chosen), call.ids(other))
        if parts[0].numel() == 0:
            return Units(parts[1])
        hidden = torch.where(parts[0], minus_infinity(chosen), minus_infinity(other))
        ids = tidy(torch.where(*parts))
        return Masked(ids, hidden) if bool(hidden.any()) else Units(ids)
    values = [v for v in (chosen, other) if isinstance(v, Units)]
    if len(values) == 2:
        call.say_conservative("the condition is computed from the input: either branch may be taken")
    made = call.union([chosen, other])
    return Units(made.ids.expand(call.shape))


def minus_infinity(value: Any) -> torch.Tensor:
    """Where a value is minus infinity, as masks of a softmax or of decays are."""
    if isinstance(value, Masked):
        return value.hidden
    if isinstance(value, (Units, Weight)):
        return torch.tensor(False)
    if isinstance(value, Known) and not value.known:
        return torch.tensor(False)
    return torch.as_tensor(getattr(value, "tensor", value)) == -torch.inf


def fill(call: Call, value: Any, mask: Any, filling: Any) -> Any:
    """masked_fill: the filling where the mask holds."""
    return where(call, mask, filling, value)


def known(index: Any) -> bool:
    """Whether all index tensors have known content."""
    several = index if isinstance(index, (list, tuple)) else [index]
    return all(isinstance(i, Known) and i.known for i in several if i is not None)


def content(index: Any) -> Any:
    """Index tensors as torch's own."""
    return [i if i is None else i.tensor for i in index] if isinstance(index, (list, tuple)) else index.tensor


def take(call: Call, value: Units, indices: Any) -> Any:
    """value[indices]: the numbers of a known index; else any element along the axes that are indexed."""
    if isinstance(value, Weight) and len(indices) == 1 and len(value.shape) == 2:
        return look_up(call, value, indices[0])
    if isinstance(value, Known):
        return _found(call, indices)
    if known(indices):
        return Units(tidy(aten.index.Tensor(value.ids, content(indices))))
    call.say_conservative(ANY)
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    joined = call.united_over(value.ids, axes)
    first = [None if i is None else torch.zeros(i.shape, dtype=torch.int64) for i in indices]
    return Units(aten.index.Tensor(joined, first))


def _found(call: Call, indices: Sequence[Any]) -> Units:
    """Plain numbers at the places of an index that an input moves."""
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    shape = torch.broadcast_shapes(*(indices[axis].shape for axis in axes))
    ids = call.union([indices[axis] for axis in axes if isinstance(indices[axis], Units)]).ids.expand(shape)
    return function_of(call, ids, axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0)


def select(call: Call, value: Units, dim: int, index: Any, *rest: Any, **kwargs: Any) -> Any:
    """index_select and gather."""
    if isinstance(value, Known):
        whole = call.target is aten.gather.default
        return call.lift(index) if whole else function_of(call, index.ids, dim % len(value.shape))
    if known(index):
        return Units(tidy(call.target(value.ids, dim, content(index))))
    call.say_conservative(ANY)
    joined = call.united_over(value.ids, dim)
    if call.target is aten.index_select.default:
        return Units(joined.expand(call.shape))
    lead = [slice(None) if axis == dim % len(call.shape) else slice(0, n) for axis, n in enumerate(call.shape)]
    return Units(joined[tuple(lead)].expand(call.shape))


def take_flat(call: Call, value: Units, index: Any) -> Any:
    """torch.take: the flat elements."""
    return take(call, Units(value.ids.reshape(-1)), [index])


def overlay(call: Call, value: Any, part: Any, *where_to: Any) -> Any:
    """A slice, row or diagonal written into a value."""
    ids, source = call.ids(value).expand(value.shape), call.ids(part)
    return Units(tidy(call.target(ids.contiguous(), source.expand(part.shape).contiguous(), *where_to)))


def put(call: Call, value: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """index_put: values written to, or added at, the places of an index."""
    if not known(indices):
        return _anywhere(call, value, values)
    places = torch.arange(value.shape.numel()).reshape(value.shape)
    places = aten.index.Tensor(places, content(indices))
    return placed(call, value, places, call.ids(values).expand(places.shape), accumulate)


def scatter(call: Call, value: Any, dim: int, index: Any, source: Any, reduce: str | None = None, **kwargs: Any) -> Any:
    """scatter, scatter_add, scatter_reduce: elements of the source written to, or joined at, places along an axis."""
    joins = reduce is not None or "add" in str(call.target) or "reduce" in str(call.target)
    if not known(index):
        return _anywhere(call, value, source, dim)
    shape = index.shape
    grid = list(torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij"))
    grid[dim] = index.tensor
    places = torch.arange(value.shape.numel()).reshape(value.shape)[tuple(grid)]
    ids = call.ids(source)
    ids = ids[tuple(slice(0, n) for n in shape)] if ids.dim() else ids.expand(shape)
    return placed(call, value, places, ids, joins and kwargs.get("include_self", True))


def index_along(call: Call, value: Any, dim: int, index: Any, source: Any, **kwargs: Any) -> Any:
    """index_add, index_copy, index_fill: whole slices along an axis."""
    if not known(index):
        return _anywhere(call, value, source, dim)
    places = torch.arange(value.shape.numel()).reshape(value.shape).index_select(dim, index.tensor.reshape(-1))
    return placed(call, value, places, call.ids(source).expand(places.shape), "add" in str(call.target))


def placed(call: Call, value: Any, places: torch.Tensor, ids: torch.Tensor, joins: bool) -> Units:
    """``ids`` at the flat ``places`` of a value; several at one place, and the value's own where it joins, are united."""
    flat = call.ids(value).expand(value.shape).reshape(-1).clone()
    places, ids = places.reshape(-1), ids.reshape(-1)
    target, reads = by_place(places)
    rows = torch.nn.functional.pad(ids, (1, 0))[reads + 1]
    if joins:
        rows = torch.cat([rows, flat[target][:, None]], 1)
    flat[target] = call.united(rows) if len(target) else flat[target]
    return Units(tidy(flat.reshape(value.shape)))


def _anywhere(call: Call, value: Any, source: Any, dim: int | None = None) -> Units:
    """Any element of the source may come to any place, along an axis or everywhere."""
    call.say_conservative(ANY)
    ids = call.ids(source)
    ids = ids.expand(source.shape) if hasattr(source, "shape") else ids
    same = dim is not None and ids.dim() == len(value.shape)
    joined = call.united_over(ids, dim) if same else call.united_over(ids, None).reshape([1] * len(value.shape))
    if same and any(a != b and b != 1 for i, (a, b) in enumerate(zip(value.shape, joined.shape, strict=True))):
        joined = call.united_over(ids, None).reshape([1] * len(value.shape))
    made = call.union([Units(call.ids(value).expand(value.shape)), Units(joined)])
    return Units(made.ids.expand(call.shape))


def sort(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """sort, msort (of the first axis) and topk: any element along the axis may come to any place."""
    call.say_conservative("any element along the axis may come to any place")
    joined = call.united_over(value.ids, call.named([value, *args], kwargs).get("dim", 0))
    return Units(joined.expand(call.shape))


def running(call: Call, value: Units, dim: int, **kwargs: Any) -> Any:
    """Running sums, products and extrema: each depends on all up to it."""
    ids = torch.atleast_1d(value.ids).movedim(dim, 0)
    (small,), _ = collapse(ids)
    whole = running_unions(call, small, len(small)).expand(ids.shape).movedim(0, dim)
    made = Units(whole.reshape(call.shape))
    return call.lift(made) if call.target is aten.logcumsumexp.default else made


RULES: dict[Any, Rule] = {
    aten.where.self: Rule(where, weights="cuts", tokens="keeps", waits=steps.chosen, flows="moves"),
    aten.where.ScalarOther: Rule(where, weights="cuts", tokens="keeps", waits=steps.chosen, flows="chooses"),
    aten.where.ScalarSelf: Rule(where, tokens="keeps", waits=steps.chosen, flows="chooses"),
    aten.where.Scalar: Rule(where),
    **rows([aten.masked_fill.Scalar, aten.masked_fill.Tensor],
           Rule(fill, weights="cuts", tokens="keeps", waits=steps.filled, flows="fills")),
    aten.index.Tensor: Rule(take, weights="moves", tokens="keeps"),
    aten._unsafe_index.Tensor: Rule(take, weights="moves"),
    aten.take.default: Rule(take_flat, weights="moves"),
    aten.index_select.default: Rule(select, weights="moves", tokens="keeps"),
    aten.gather.default: Rule(select, weights="moves", tokens="keeps"),
    **rows([aten.slice_scatter.default, aten.select_scatter.default], Rule(overlay, tokens="keeps", flows="moves")),
    aten.diagonal_scatter.default: Rule(overlay),
    aten.index_put.default: Rule(put, tokens="keeps", flows="moves"),
    aten._unsafe_index_put.default: Rule(put),
    aten.scatter.src: Rule(scatter, tokens="keeps", flows="moves"),
    **rows([aten.scatter.value, aten.scatter.reduce, aten.scatter.value_reduce, aten.scatter_add.default,
            aten.scatter_reduce.two], Rule(scatter)),
    **rows([aten.index_add.default, aten.index_copy.default, aten.index_fill.int_Scalar, aten.index_fill.int_Tensor],
           Rule(index_along)),
    **rows([aten.sort.default, aten.topk.default], Rule(sort, flows="moves")),
    **rows([aten.sort.stable, aten.msort.default], Rule(sort)),
    aten.cumsum.default: Rule(running, flows="moves"),
    **rows([aten.cumprod.default, aten.cummax.default, aten.cummin.default, aten.logcumsumexp.default], Rule(running)),
}  # fmt: skip

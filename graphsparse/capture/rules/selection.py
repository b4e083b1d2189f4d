"""Choosing and placing elements: at constant indices they move; at computed ones any of them may be meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import waiting
from graphsparse.capture.mechanics.lookup import function_of, look_up
from graphsparse.capture.mechanics.matrices import running_unions
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import by_place, collapse, tidy
from graphsparse.capture.values import Known, Masked, Units, Weight

aten = torch.ops.aten
ANY = "the index is computed from the input: any element along its axis may be meant"


def where(call: Call, condition: Known, chosen: Any, other: Any) -> Any:
    """A known condition picks; a computed one may take either."""
    if isinstance(condition, Known) and condition.known:
        picks, one, two = torch.broadcast_tensors(condition.tensor, call.ids(chosen), call.ids(other))
        if picks.numel() == 0:
            return Units(one)
        picked = tidy(torch.where(picks, one, two))
        hidden = torch.where(picks, minus_infinity(chosen), minus_infinity(other))
        return Masked(picked, hidden) if bool(hidden.any()) else Units(picked)
    if isinstance(chosen, Units) and isinstance(other, Units):
        call.say_conservative("the condition is computed from the input: either branch may be taken")
    return Units(call.union([chosen, other]).ids.expand(call.shape))


def minus_infinity(value: Any) -> torch.Tensor:
    """Where a value is minus infinity, as masks of a softmax or of decays are."""
    if isinstance(value, Masked):
        return value.hidden
    if isinstance(value, (Units, Weight)) or isinstance(value, Known) and not value.known:
        return torch.tensor(False)
    return torch.as_tensor(getattr(value, "tensor", value)) == -torch.inf


def fill(call: Call, value: Any, mask: Any, filling: Any) -> Any:
    """masked_fill: the filling where the mask holds."""
    return where(call, mask, filling, value)


def known(index: Any) -> bool:
    """Whether all index tensors have known content."""
    several = index if isinstance(index, (list, tuple)) else [index]
    return all(isinstance(i, Known) and i.known for i in several if i is not None)


def take(call: Call, value: Units, indices: Any) -> Any:
    """value[indices]: the numbers of a known index; else any element along the axes that are indexed."""
    if isinstance(value, Weight) and len(indices) == 1 and len(value.shape) == 2:
        return look_up(call, value, indices[0])
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    if isinstance(value, Known):  # plain numbers at the places of an index that an input moves
        shape = torch.broadcast_shapes(*(indices[axis].shape for axis in axes))
        ids = call.union([indices[axis] for axis in axes if isinstance(indices[axis], Units)]).ids.expand(shape)
        return function_of(call, ids, axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0)
    if known(indices):
        return Units(tidy(_indexed(value.ids, indices)))
    call.say_conservative(ANY)
    first = [None if i is None else Known(torch.zeros(i.shape, dtype=torch.int64)) for i in indices]
    return Units(_indexed(call.united_over(value.ids, axes), first))


def _indexed(ids: torch.Tensor, indices: Sequence[Known | None]) -> torch.Tensor:
    return aten.index.Tensor(ids, [None if index is None else index.tensor for index in indices])


def select(call: Call, value: Units, dim: int, index: Any, *rest: Any, **kwargs: Any) -> Any:
    """index_select and gather."""
    if isinstance(value, Known):
        whole = call.target is aten.gather.default
        return call.lift(index) if whole else function_of(call, index.ids, dim % len(value.shape))
    if known(index):
        return Units(tidy(call.target(value.ids, dim, index.tensor)))
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
    places = _indexed(_places(value), indices)
    return placed(call, value, places, call.ids(values).expand(places.shape), accumulate)


def scatter(call: Call, value: Any, dim: int, index: Any, source: Any, reduce: str | None = None, **kwargs: Any) -> Any:
    """scatter, scatter_add, scatter_reduce: elements of the source written to, or joined at, places along an axis."""
    if not known(index):
        return _anywhere(call, value, source, dim)
    joins = reduce is not None or "add" in str(call.target) or "reduce" in str(call.target)
    ids = call.ids(source)
    ids = ids[tuple(slice(0, n) for n in index.shape)] if ids.dim() else ids.expand(index.shape)
    places = _places(value).gather(dim, index.tensor)
    return placed(call, value, places, ids, joins and kwargs.get("include_self", True))


def index_along(call: Call, value: Any, dim: int, index: Any, source: Any, **kwargs: Any) -> Any:
    """index_add, index_copy, index_fill: whole slices along an axis."""
    if not known(index):
        return _anywhere(call, value, source, dim)
    places = _places(value).index_select(dim, index.tensor.reshape(-1))
    return placed(call, value, places, call.ids(source).expand(places.shape), "add" in str(call.target))


def _places(value: Any) -> torch.Tensor:
    """The flat place of each element."""
    return torch.arange(value.shape.numel()).reshape(value.shape)


def placed(call: Call, value: Any, places: torch.Tensor, ids: torch.Tensor, joins: bool) -> Units:
    """The value with ``ids`` at its flat ``places``; several at one place are united, with the value's own where it joins."""
    flat = call.ids(value).expand(value.shape).reshape(-1).clone()
    target, reads = by_place(places.reshape(-1))
    rows = torch.nn.functional.pad(ids.reshape(-1), (1, 0))[reads + 1]
    if joins:
        rows = torch.cat([rows, flat[target][:, None]], 1)
    flat[target] = call.united(rows) if len(target) else flat[target]
    return Units(tidy(flat.reshape(value.shape)))


def _anywhere(call: Call, value: Any, source: Any, dim: int | None = None) -> Units:
    """Any element of the source may come to any place, along an axis or everywhere."""
    call.say_conservative(ANY)
    ids = call.ids(source)
    ids = ids.expand(source.shape) if hasattr(source, "shape") else ids
    along = dim is not None and ids.dim() == len(value.shape)
    joined = call.united_over(ids, dim) if along else ids
    if not along or any(n not in (1, size) for n, size in zip(joined.shape, value.shape, strict=True)):
        joined = call.united_over(ids, None).reshape(())
    return Units(call.union([value, Units(joined)]).ids.expand(call.shape))


def sort(call: Call, value: Units, *args: Any, **kwargs: Any) -> Any:
    """sort, msort (of the first axis) and topk: any element along the axis may come to any place."""
    call.say_conservative("any element along the axis may come to any place")
    dim = call.named([value, *args], kwargs).get("dim", 0)
    return Units(call.united_over(value.ids, dim).expand(call.shape))


def running(call: Call, value: Units, dim: int, **kwargs: Any) -> Any:
    """Running sums, products and extrema: each depends on all up to it."""
    ids = torch.atleast_1d(value.ids).movedim(dim, 0)
    (small,), _ = collapse(ids)
    whole = running_unions(call, small, len(small)).expand(ids.shape).movedim(0, dim)
    made = Units(whole.reshape(call.shape))
    return call.lift(made) if call.target is aten.logcumsumexp.default else made


CHOOSES = Rule(where, tokens="keeps", waits=waiting.chosen, flows="chooses")
PLACES = "index_add index_copy index_fill.int_Scalar index_fill.int_Tensor"
SCATTERS = "scatter.value scatter.reduce scatter.value_reduce scatter_add scatter_reduce.two"
RULES: dict[Any, Rule] = {
    aten.where.self: replace(CHOOSES, weights="chooses", flows="moves"),
    **rows("where.ScalarOther where.ScalarSelf", replace(CHOOSES, weights="chooses")),
    aten.where.Scalar: Rule(where),
    **rows("masked_fill.Scalar masked_fill.Tensor",
           Rule(fill, weights="cuts", tokens="keeps", waits=waiting.filled, flows="fills")),
    aten.index.Tensor: Rule(take, weights="moves", tokens="keeps"),
    aten._unsafe_index.Tensor: Rule(take, weights="moves"),
    aten.take.default: Rule(take_flat, weights="moves"),
    **rows("index_select gather", Rule(select, weights="moves", tokens="keeps")),
    **rows("slice_scatter select_scatter", Rule(overlay, tokens="keeps", flows="moves")),
    aten.diagonal_scatter.default: Rule(overlay),
    aten.index_put.default: Rule(put, tokens="keeps", flows="moves"),
    aten._unsafe_index_put.default: Rule(put),
    aten.scatter.src: Rule(scatter, tokens="keeps", flows="moves"),
    **rows(SCATTERS, Rule(scatter)),
    **rows(PLACES, Rule(index_along)),
    **rows("sort topk", Rule(sort, flows="moves")),
    **rows("sort.stable msort", Rule(sort)),
    aten.cumsum.default: Rule(running, flows="moves"),
    **rows("cumprod cummax cummin logcumsumexp", Rule(running)),
}  # fmt: skip

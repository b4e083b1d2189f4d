"""Matrix products of two activations, and of an activation with a pattern, as of a mask, which unites some of its units.

Repeats are removed first, so that only distinct products become gates.
"""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.arithmetic import pairwise
from graphsparse.capture.units import CONSTANT, NOTHING, canonical, collapse, unique_rows
from graphsparse.capture.values import Units
from graphsparse.capture.wiring import gate, say_matrices

MOST_WIRES = 20_000_000
"""The most wires of the unions of one operation; where there are more, a mask is taken as letting everything through."""
MOST_TERMS = 20_000_000
"""The most products of one operation; where there are more, positions are joined."""


def terms(call: Call, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The ids (..., rows, columns) of left (..., rows, inner) @ right (..., inner, columns), both at least matrices."""
    lead = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*lead, left.size(-2), right.size(-1))
    a, b = (canonical(each.expand(*lead, *each.shape[-2:])) for each in (left, right))
    for axis in range(len(lead)):
        if a.stride(axis) == 0 and b.stride(axis) == 0 and a.size(axis) > 1:
            a, b = a.narrow(axis, 0, 1), b.narrow(axis, 0, 1)
    before = len(call.draft.layers)
    a = a[..., :1, :] if a.stride(-2) == 0 else a
    b = b[..., :1] if b.stride(-1) == 0 else b
    made = _distinct(call, a, b)
    say_matrices(call.draft, before, made)
    return made.expand(shape)


def _distinct(call: Call, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The ids of a @ b, made in the cheapest way.

    Where a row is one unit, its product with a column needs one gate: that of the unit with the union of the column.
    """
    if a.stride(-1) == 0 and b.stride(-2) == 0:
        return dots(call, a[..., :1], b.mT[..., :1])
    found = _one_each(a)
    if found is not None:
        return _factored(call, found, a != NOTHING, b)
    found = _one_each(b.mT)
    if found is not None:
        return _factored(call, found, b.mT != NOTHING, a.mT).mT
    if _count(a, b) <= MOST_TERMS:
        return dots(call, a, b.mT)
    rows, inner, columns = _there(a, -2), _there(a, -1) & _there(b, -2), _there(b, -1)
    parts = a[..., rows, :][..., inner], b[..., inner, :][..., columns]  # chunks filled up with zeros are mostly these
    made = dots(call, parts[0], parts[1].mT) if _count(*parts) <= MOST_TERMS else _dots_of_joined(call, *parts)
    result = torch.full((*a.shape[:-1], b.size(-1)), NOTHING)
    result[..., rows.nonzero(), columns.nonzero()[:, 0]] = made.expand(
        *a.shape[:-2], int(rows.sum()), int(columns.sum())
    )
    return result


def _count(a: torch.Tensor, b: torch.Tensor) -> int:
    """How many products of elements a matrix product has."""
    return a.shape[:-1].numel() * b.size(-1) * a.size(-1)


def _there(ids: torch.Tensor, axis: int) -> torch.Tensor:
    """Along one axis, whether there is any unit or constant."""
    return (ids != NOTHING).movedim(axis, 0).flatten(1).any(1)


def _one_each(ids: torch.Tensor) -> torch.Tensor | None:
    """The one unit of each row, if none has more than one (beside zeros); else None."""
    if ids.stride(-1) == 0:
        return ids[..., 0]
    units, constant = ids.amax(-1), ids.amin(-1)
    single = torch.where(units > 0, units, constant)
    return single if bool(((ids == single.unsqueeze(-1)) | (ids == NOTHING)).all()) else None


def _factored(call: Call, single: torch.Tensor, pattern: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """single[r] times the union of those b (..., inner, columns) that the row's pattern (..., rows, inner) lets through."""
    united = by_pattern(call, b.mT, pattern)  # (..., rows, columns)
    return pairwise(call, Units(single.unsqueeze(-1)), Units(united)).ids


def _dots_of_joined(call: Call, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The products after the longest axis, which is that of positions, is joined to one."""
    call.say_conservative("more than 20 million products of activations: positions are joined")
    if a.size(-1) >= max(a.size(-2), b.size(-1)):
        return dots(call, call.united(a).unsqueeze(-1), call.united(b.mT).unsqueeze(-1))
    return dots(call, call.united(a.mT).unsqueeze(-2), call.united(b).unsqueeze(-2))


def dots(call: Call, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The ids (..., rows, columns) of the sums over the last axis of a (..., rows, inner) times b (..., columns, inner)."""
    if a.size(-1) == 1:
        return pairwise(call, Units(a), Units(b.mT)).ids
    return row_dots(call, *torch.broadcast_tensors(a.unsqueeze(-2), b.unsqueeze(-3)))


def row_dots(call: Call, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The ids (...) of the sums over the last axis of a times b, of one shape: one gate unit each."""
    shape = a.shape[:-1]
    left, right = a.reshape(-1, a.size(-1)), b.reshape(-1, a.size(-1))
    there = (left != NOTHING) & (right != NOTHING)
    moved = (there & ((left > 0) | (right > 0))).any(1)
    result = torch.where(there.any(1), CONSTANT, NOTHING)
    if bool(moved.any()):
        use = there & moved[:, None]
        target = (moved.cumsum(0) - 1)[:, None].expand(use.shape)[use]
        result[moved] = gate(call.draft, left[use], right[use], target, int(moved.sum()))
    return result.reshape(shape)


def by_pattern(call: Call, ids: torch.Tensor, pattern: torch.Tensor | None) -> torch.Tensor:
    """The unit of each row and column, which depends on those ids of the column that the row's pattern lets through.

    ``ids`` are (..., columns, inner), ``pattern`` is bool (..., rows, inner). Returns ids (..., rows, columns), with one row
    where all rows are the same.
    """
    if pattern is None or ids.stride(-1) == 0 or bool(pattern.all()):
        united = call.united(ids).unsqueeze(-2)
        if pattern is None or bool(pattern.any(-1).all()):
            return united
        return torch.where(pattern.any(-1, keepdim=True), united, NOTHING)
    pattern = canonical(pattern)
    lead = pattern.dim() - 2
    if lead and all(pattern.stride(axis) == 0 or pattern.size(axis) == 1 for axis in range(lead)):
        one = pattern[(0,) * lead]
        if bool((one[:, 1:] <= one[:, :-1]).all()) and one.size(0) > 2:
            return _up_to(call, ids, one.sum(1))
    return _sets(call, ids, pattern)


def running_unions(call: Call, ids: torch.Tensor, most: int) -> torch.Tensor:
    """Unite each of the first ``most`` ids along the first axis with all before it; strides that double need few layers."""
    step = 1
    while step < most:
        later = call.union([Units(ids[step:]), Units(ids[:-step])]).ids
        ids = torch.cat([ids[:step], later])
        step *= 2
    return ids


def _up_to(call: Call, ids: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Row r unites the first count[r] of ids (..., columns, inner)."""
    shape = ids.shape[:-1]
    (running,), _ = collapse(ids.movedim(-1, 0))
    running = running_unions(call, running, int(count.max()))
    chosen = torch.where((count > 0).reshape(-1, *[1] * len(shape)), running[(count - 1).clamp(min=0)], NOTHING)
    return chosen.expand(len(count), *shape).movedim(0, -2)


def _sets(call: Call, ids: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """Any patterns: one union for each distinct pattern and leading index."""
    lead = torch.broadcast_shapes(ids.shape[:-2], pattern.shape[:-2])
    whole = pattern.expand(*lead, *pattern.shape[-2:]).reshape(-1, pattern.size(-2), pattern.size(-1))
    flat = ids.expand(*lead, *ids.shape[-2:]).reshape(-1, *ids.shape[-2:])
    samples = torch.arange(len(whole))[:, None].expand(whole.shape[:2]).reshape(-1)
    numbers = whole.reshape(-1, whole.size(-1)).unique(dim=0, return_inverse=True)[1]  # of equal patterns
    first, kind = unique_rows(torch.stack([samples, numbers], 1))
    rows = whole.reshape(-1, whole.size(-1))[first]
    if len(first) * flat.size(1) * flat.size(2) > MOST_WIRES:
        call.say_conservative("a mask of more than 20 million wires is taken as letting everything through")
        return call.united(ids).unsqueeze(-2)
    open_ids = torch.where(rows[:, None], flat[samples[first]], NOTHING)
    united = call.united(open_ids)[kind]
    return united.reshape(*lead, pattern.size(-2), ids.size(-2))

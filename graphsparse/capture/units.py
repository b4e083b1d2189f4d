"""Unit ids: which unit each element of a value is, as an integer tensor of the value's own shape.

0 is no unit (padding, a constant zero), -1 a constant that is not zero, ids from 1 on are units. An operation that
only moves elements is applied to the ids as it stands. Axes along which ids repeat have stride 0 and take no memory.

The graph counts units from 0 on, with -1 for no unit and -2 for a constant. Here no unit is 0, since torch fills what it
pads and cuts with zeros; `graphsparse.capture.draft.as_ids` subtracts the one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from graphsparse.kernels.rows import distinct_rows, ordered_pairs, rising

NOTHING, CONSTANT = 0, -1


def collapse(*ids: torch.Tensor) -> tuple[list[torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]:
    """Broadcast ids to one shape and keep one index of each axis along which all of them repeat.

    Returns the small tensors, and the function that expands a result of their shape to the whole one.
    """
    whole = torch.broadcast_tensors(*ids)
    shape = whole[0].shape
    repeats = [all(t.stride(d) == 0 for t in whole) for d in range(len(shape))]
    small = list(whole)
    for axis, repeated in enumerate(repeats):
        if repeated and shape[axis] > 1:
            small = [t.narrow(axis, 0, 1) for t in small]
    return small, lambda result: result.expand(shape)


def canonical(ids: torch.Tensor) -> torch.Tensor:
    """The same ids with stride 0 along every axis on which they repeat. Operations that copy ids lose these strides."""
    for axis in range(ids.dim()):
        if ids.size(axis) > 1 and ids.stride(axis) != 0:
            first = ids.narrow(axis, 0, 1)
            if torch.equal(ids.narrow(axis, 1, 1), first) and bool((ids == first).all()):
                ids = first.expand(ids.shape)
    return ids


def tidy(moved: torch.Tensor, before: torch.Tensor | None = None) -> torch.Tensor:
    """Ids after an operation, with stride 0 where they repeat; a view of the ids ``before`` has its strides already."""
    shares = before is not None and moved.untyped_storage().data_ptr() == before.untyped_storage().data_ptr()
    return moved if shares else canonical(moved)


@dataclass(frozen=True)
class Sets:
    """Rows of ids as sets: the distinct rows, which of them each row is, and which hold a constant too.

    ``members`` (sets, most) are sorted unit ids, 0 where a set has fewer; ``constant`` (sets,) bool; ``index`` (rows,), or
    a slice of all where each row is a set of its own.
    """

    members: torch.Tensor
    constant: torch.Tensor
    index: torch.Tensor | slice


def distinct_sets(rows: torch.Tensor) -> Sets:
    """The distinct sets among rows (rows, k) of ids, in order of first appearance."""
    if rows.size(1) == 2:  # the sum of two values, by far the most frequent
        members, constant = map(torch.from_numpy, ordered_pairs(rows.contiguous().numpy()))
    else:
        members, constant = _sets(rows.clamp(min=0)), (rows == CONSTANT).any(1)
    if rising(members.numpy()):
        return Sets(members, constant, slice(None))
    both = torch.cat([members, constant[:, None].long()], 1) if bool(constant.any()) else members
    first, index = unique_rows(both)
    return Sets(members[first], constant[first], index)


def _sets(rows: torch.Tensor) -> torch.Tensor:
    """Each row (rows, k) of ids sorted, largest first, each id once, in as few columns as the largest set needs."""
    if rows.size(1) == 1:
        return rows
    ordered = rows.sort(1, descending=True).values
    again = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)
    if bool(again.any()):
        ordered[:, 1:].masked_fill_(again, 0)
        ordered = ordered.sort(1, descending=True).values
    filled = (ordered != 0).any(0)
    return ordered[:, : max(1, int(filled.sum()))]


def by_place(places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct places, ascending, and for each of them which elements stand there: (places, most), -1 for none."""
    order = places.argsort(stable=True)
    target, count = places[order].unique_consecutive(return_counts=True)
    slot = torch.arange(len(places)) - (count.cumsum(0) - count).repeat_interleave(count)
    found = torch.full((len(target), int(count.max()) if len(count) else 0), -1)
    found[torch.arange(len(target)).repeat_interleave(count), slot] = order
    return target, found


def unique_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first row of each kind in order of appearance, and each row's kind."""
    first, kind = distinct_rows(rows.contiguous().numpy())
    return torch.from_numpy(first), torch.from_numpy(kind)

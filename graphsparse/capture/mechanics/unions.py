"""Which units a row unites where a mask lets through only some: all of them, those up to a place, or any set."""

from __future__ import annotations

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.units import NOTHING, canonical, collapse, unique_rows
from graphsparse.capture.values import Units

MOST_WIRES = 20_000_000
"""Wires of the unions of one operation; beyond, a mask is taken as letting everything through."""


def by_pattern(call: Call, ids: torch.Tensor, pattern: torch.Tensor | None) -> torch.Tensor:
    """The units (..., rows, columns) of ids (..., columns, inner) over those inner that pattern (..., rows, inner) lets through.

    One row stands for all where all are the same.
    """
    if pattern is None or ids.stride(-1) == 0 or bool(pattern.all()):
        united = call.united(ids).unsqueeze(-2)
        return united if pattern is None or bool(pattern.any(-1).all()) else _where_any(united, pattern)
    pattern = canonical(pattern)
    if pattern.dim() > 2 and all(
        pattern.stride(axis) == 0 or pattern.size(axis) == 1 for axis in range(pattern.dim() - 2)
    ):
        one = pattern[(0,) * (pattern.dim() - 2)]
        if bool((one[:, 1:] <= one[:, :-1]).all()) and one.size(0) > 2:
            return _up_to(call, ids, one.sum(1))
    return _sets(call, ids, pattern)


def _where_any(united: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    return torch.where(pattern.any(-1, keepdim=True), united, NOTHING)


def running_unions(call: Call, ids: torch.Tensor, most: int) -> torch.Tensor:
    """Each of the first ``most`` along the first axis united with all before it: strides that double need log n layers."""
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
    """Any patterns: a union per distinct one and leading index."""
    lead = torch.broadcast_shapes(ids.shape[:-2], pattern.shape[:-2])
    whole = pattern.expand(*lead, *pattern.shape[-2:]).reshape(-1, pattern.size(-2), pattern.size(-1))
    flat = ids.expand(*lead, *ids.shape[-2:]).reshape(-1, *ids.shape[-2:])
    samples = torch.arange(len(whole))[:, None].expand(whole.shape[:2]).reshape(-1)
    first, kind = unique_rows(torch.cat([samples[:, None], _numbered(whole)[:, None]], 1))
    rows = whole.reshape(-1, whole.size(-1))[first]
    if len(first) * flat.size(1) * flat.size(2) > MOST_WIRES:
        call.say_conservative("a mask of more than 20 million wires is taken as letting everything through")
        return call.united(ids).unsqueeze(-2)
    open_ids = torch.where(rows[:, None], flat[samples[first]], NOTHING)
    united = call.united(open_ids)[kind]
    return united.reshape(*lead, pattern.size(-2), ids.size(-2))


def _numbered(patterns: torch.Tensor) -> torch.Tensor:
    """Equal rows of patterns (..., rows, inner) by the same number, flat."""
    return patterns.reshape(-1, patterns.size(-1)).unique(dim=0, return_inverse=True)[1]

"""Which entry of a parameter each element of a result is made of, found by trying the operation out.

Every bit of an entry's place is tried: entries whose place has the bit get new numbers, then those whose place lacks it.
An element that depends on one entry changes in one of the two, and so spells out the place of that entry. An element
that depends on several changes in both, for some bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from graphsparse.capture.values import NEVER

ROUNDS = 8
"""New numbers are drawn so often: a function with few values, as a sign, shows a change only in some of them."""
MOST = 1 << 25
"""Entries of a parameter that is tried; 50 runs of the operation are needed for so many."""


@dataclass(frozen=True, eq=False)
class Origins:
    """For each element of a result, flat. ``place``: the one entry that it depends on, NEVER where it depends on none.

    ``several``: it depends on more than one. ``unsure``: trying did not tell. ``copies``: it is that entry itself, or
    zero where it depends on none. ``vanishes``: it is zero where the entry at its own place is zero, and only there.
    """

    place: torch.Tensor
    several: torch.Tensor
    unsure: torch.Tensor
    copies: torch.Tensor
    vanishes: bool


def origins(run: Callable[[torch.Tensor], torch.Tensor], size: int, dtype: torch.dtype) -> Origins:
    """Try a function of ``size`` numbers: ``run`` takes them flat, and gives the elements of the result flat."""
    places, bits = torch.arange(size), max(1, (size - 1).bit_length())
    draws = torch.Generator().manual_seed(0)
    given = _numbers(size, dtype, draws)
    found = run(given)
    with_bit, without = (torch.zeros(found.numel(), dtype=torch.int64) for _ in range(2))
    whole = (1 << bits) - 1
    for done in range(ROUNDS):
        fresh = _numbers(size, dtype, draws)
        for bit in range(bits):
            chosen = (places >> bit) & 1 == 1
            with_bit |= _differ(run(torch.where(chosen, fresh, given)), found).long() << bit
            without |= _differ(run(torch.where(chosen, given, fresh)), found).long() << bit
        known = with_bit | without
        if done and bool((known == whole).all()):
            break
    none, several = known == 0, (with_bit & without) != 0
    place = torch.where(none, NEVER, with_bit)
    copies = found == torch.where(none, torch.zeros_like(found), given[place.clamp(0, size - 1)])
    zeros = torch.randint(0, 2, (size,), generator=draws) == 0
    vanishes = found.numel() == size and all(
        bool(((run(given.masked_fill(gone, 0)) == 0) == gone).all()) for gone in (zeros, ~zeros)
    )
    return Origins(place, several, ~none & ~several & (known != whole), copies, vanishes)


def _numbers(size: int, dtype: torch.dtype, draws: torch.Generator) -> torch.Tensor:
    """Numbers of either sign, none of them zero."""
    signs = torch.randint(0, 2, (size,), generator=draws) * 2 - 1
    return ((torch.rand(size, generator=draws) + 0.5) * signs).to(dtype)


def _differ(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one != other) & ~(one.isnan() & other.isnan())

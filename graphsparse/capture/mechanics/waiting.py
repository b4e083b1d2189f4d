"""A matrix product of two activations that waits for its softmax, which needs one unit per row and not one per element.

`Scores` are `Units` whose ids are made when they are first read. Softmax does not read them, nor do the operations between
the product and it: scales, masks, biases, views of the leading axes. The last functions here are for those operations. They
are called as ``step(call, parts, *args, **kwargs)`` with the operation's own arguments, and return the parts of the product
after the operation, or None where the product cannot wait any longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.matrices import by_pattern, row_dots, terms
from graphsparse.capture.units import CONSTANT, NOTHING, canonical, collapse
from graphsparse.capture.values import Known, Units, Weight
from graphsparse.capture.wiring import say_matrices, scale


@dataclass(frozen=True, eq=False)
class Parts:
    """left (..., rows, inner) @ right (..., inner, columns) + added, seen through ``allowed`` (both broadcastable)."""

    left: torch.Tensor
    right: torch.Tensor
    added: tuple[torch.Tensor, ...] = ()
    allowed: torch.Tensor | None = None

    @property
    def shape(self) -> torch.Size:
        """That of the result."""
        lead = torch.broadcast_shapes(self.left.shape[:-2], self.right.shape[:-2])
        tensors = [torch.Size([*lead, self.left.size(-2), self.right.size(-1)]), *(each.shape for each in self.added)]
        return torch.broadcast_shapes(*tensors, *([] if self.allowed is None else [self.allowed.shape]))

    def masked(self, allowed: torch.Tensor) -> Parts:
        """The same, seen through a further mask."""
        return replace(self, allowed=allowed if self.allowed is None else self.allowed & allowed)

    def plus(self, ids: torch.Tensor) -> Parts:
        """The same with units added."""
        return replace(self, added=(*self.added, ids))

    def opened(self) -> torch.Tensor | None:
        """What each row sees. A row that sees nothing sees everything: a mask that hides a whole row only shifts it."""
        if self.allowed is None:
            return None
        allowed = self.allowed.expand(torch.broadcast_shapes(self.allowed.shape, (1, self.shape[-1])))
        return allowed | ~allowed.any(-1, keepdim=True)

    def on_lead(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Parts:
        """A view that moves only leading axes, applied to every part."""
        lead = self.shape[:-2]

        def moved(part: torch.Tensor) -> torch.Tensor:
            part = part.reshape(*[1] * (len(lead) + 2 - part.dim()), *part.shape)
            return change(part.expand(*lead, *part.shape[-2:]))

        added = tuple(moved(each) for each in self.added)
        return Parts(moved(self.left), moved(self.right), added, None if self.allowed is None else moved(self.allowed))


class Scores(Units):
    """A product that waits; ``make`` gives its ids from its parts when they are read."""

    def __init__(self, parts: Parts, make: Callable[[Parts], torch.Tensor]):
        self.__dict__.update(parts=parts, make=make)  # ids are made when they are read

    parts: Parts
    make: Callable[[Parts], torch.Tensor]

    @cached_property
    def ids(self) -> torch.Tensor:
        """The unit of each element: a gate unit for each distinct row and column."""
        return self.make(self.parts)

    @property
    def shape(self) -> torch.Size:
        return self.parts.shape

    def but(self, parts: Parts) -> Scores:
        """The same product in a further step."""
        return Scores(parts, self.make)


def as_mask(tensor: Any) -> torch.Tensor:
    """Which entries an additive mask leaves: all but those so low that softmax makes them zero."""
    return tensor > -1e4 if tensor.is_floating_point() else tensor != NOTHING


def product(call: Call, left: Units, right: Units) -> Units:
    """left @ right of two activations: at once where a row is one unit, as after softmax; else it waits."""
    a = left.ids.unsqueeze(0) if len(left.shape) == 1 else left.ids
    b = right.ids.unsqueeze(-1) if len(right.shape) == 1 else right.ids
    scores = Scores(Parts(a, b), lambda parts: _made(call, parts))
    if len(left.shape) > 1 and len(right.shape) > 1 and not _softened(a):
        return scores
    ids = scores.ids.squeeze(-2) if len(left.shape) == 1 else scores.ids
    return Units(ids.squeeze(-1) if len(right.shape) == 1 else ids)


def _softened(ids: torch.Tensor) -> bool:
    """Whether rows are one unit each."""
    return ids.stride(-1) == 0 or bool(((ids == ids.amax(-1, keepdim=True)) | (ids == NOTHING)).all())


def _made(call: Call, parts: Parts) -> torch.Tensor:
    """The ids of a product that does not go into a softmax."""
    ids = terms(call, parts.left, parts.right)
    if parts.added:
        ids = call.union([Units(ids), *(Units(each) for each in parts.added)]).ids
    if parts.allowed is None:
        return ids.expand(parts.shape)
    return torch.where(parts.allowed, ids, CONSTANT).expand(parts.shape)  # what hides an entry is a number


def weights_of(call: Call, parts: Parts) -> torch.Tensor:
    """The ids (..., rows, columns) of the softmax of scores: a unit per row, zero where the mask hides an entry.

    Exact without a gate for each element: a sum of products over columns is the product with the union of the columns.
    """
    shape = parts.shape
    allowed = parts.opened() if call.unrolled else None  # positions are collapsed in channel resolution
    row = _row(call, parts, allowed)
    single = allowed.sum(-1) == 1 if allowed is not None else torch.tensor(shape[-1] == 1)
    row = row if not bool(single.any()) else torch.where(single, CONSTANT, row)
    whole = call.lift(Units(row)).ids.unsqueeze(-1)
    return (whole if allowed is None else torch.where(allowed, whole, NOTHING)).expand(shape)


def _row(call: Call, parts: Parts, allowed: torch.Tensor | None) -> torch.Tensor:
    """The ids (..., rows) of what moves each row."""
    united = by_pattern(call, parts.right, allowed)  # (..., rows or 1, inner)
    (a, b), _ = collapse(parts.left, united)
    before = len(call.draft.layers)
    products = row_dots(call, a, b)
    say_matrices(call.draft, before, products.unsqueeze(-1))
    rows = [products]
    for ids in parts.added:
        if bool((ids > 0).any()):
            (seen,), _ = collapse(ids if allowed is None else torch.where(allowed, ids, NOTHING))
            rows.append(call.united(seen))
    return products if len(rows) == 1 else call.union([Units(each) for each in rows]).ids


def kept(call: Call, parts: Parts, *args: Any, **kwargs: Any) -> Parts:
    """A copy, or a function with f(0) = 0 of each score."""
    return parts


def scaled(call: Call, parts: Parts, left: Any, right: Any, **kwargs: Any) -> Parts | None:
    """Times or divided by numbers that are nowhere zero, or times a temperature of each head."""
    other = left if isinstance(right, Scores) else right
    if isinstance(other, Weight) and not other.transformed:  # a temperature is a scale of the queries as well
        if parts.added or other.shape[-2:].numel() != 1:
            return None
        return replace(parts, left=scale(call.draft, Units(parts.left), other).ids)
    if isinstance(other, Units):
        return None
    numbers = call.ids(other)
    fits = torch.broadcast_shapes(parts.shape, numbers.shape) == parts.shape
    return parts if fits and bool((numbers != NOTHING).all()) else None


def shifted(call: Call, parts: Parts, left: Any, right: Any, *, alpha: float = 1) -> Parts | None:
    """Plus a mask, a bias per position, or other scores."""
    other = right if isinstance(left, Scores) else left
    if not (isinstance(other, Known) and other.known):
        return parts.plus(call.ids(other)) if parts.shape == call.shape else None
    if not other.tensor.is_floating_point():
        return parts.plus(call.ids(other)) if bool((other.tensor != 0).any()) else parts
    seen = as_mask(other.tensor)
    shown = parts if bool(seen.all()) else parts.masked(torch.atleast_2d(seen))
    return shown.plus(call.ids(other)) if bool((other.tensor[seen] != 0).any()) else shown


def filled(call: Call, parts: Parts, value: Any, mask: Any, filling: Any) -> Parts | None:
    """masked_fill with a number so low that softmax makes it zero."""
    return _hidden(parts, mask, filling, hide=True) if isinstance(value, Scores) else None


def chosen(call: Call, parts: Parts, condition: Any, chosen: Any, other: Any) -> Parts | None:
    """where() between scores and such a number."""
    if isinstance(condition, Scores):
        return None
    hides = not isinstance(chosen, Scores)
    return _hidden(parts, condition, chosen if hides else other, hides)


def _hidden(parts: Parts, mask: Any, filling: Any, hide: bool) -> Parts | None:
    """Parts seen through a mask where ``filling`` hides an entry from the softmax; ``hide``: where the mask holds."""
    number = filling.tensor if isinstance(filling, Known) and filling.known else filling
    if isinstance(number, torch.Tensor):
        number = float(number.max()) if number.numel() else 0.0
    if not isinstance(number, (int, float)) or number > -1e4 or not (isinstance(mask, Known) and mask.known):
        return None
    return parts.masked(~mask.tensor if hide else mask.tensor)


def viewed(call: Call, parts: Parts, *args: Any, **kwargs: Any) -> Parts | None:
    """A view that leaves the last two axes as they are."""
    if len(call.shape) < 2 or call.shape[-2:] != parts.shape[-2:] or len(parts.shape) < 2:
        return None
    lead = call.shape[:-2]
    return parts.on_lead(lambda part: canonical(part.reshape(*lead, *part.shape[-2:])))

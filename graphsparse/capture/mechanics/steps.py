"""Operations between a product of activations and its softmax, after which the product still waits.

A step is ``step(call, parts, *args, **kwargs)`` over the operation's own arguments; it returns the parts of the product
after the operation, or None where the product cannot wait any longer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.waiting import Parts, Scores, as_mask
from graphsparse.capture.staging import scale
from graphsparse.capture.units import NOTHING, canonical
from graphsparse.capture.values import Known, Units, Weight


def kept(call: Call, parts: Parts, *args: Any, **kwargs: Any) -> Parts:
    """A copy, or a function with f(0) = 0 of each score."""
    return parts


def scaled(call: Call, parts: Parts, left: Any, right: Any, **kwargs: Any) -> Parts | None:
    """Times or divided by numbers that are nowhere zero, or by a parameter that is no plain scale."""
    other = left if isinstance(right, Scores) else right
    if isinstance(other, Weight) and not other.transformed:
        return _by_temperature(call, parts, other)
    if isinstance(other, Units):
        return None
    numbers = call.ids(other)
    fits = torch.broadcast_shapes(parts.shape, numbers.shape) == parts.shape
    return parts if fits and bool((numbers != NOTHING).all()) else None


def _by_temperature(call: Call, parts: Parts, by: Weight) -> Parts | None:
    """Times a temperature of each head: it is a scale of the queries as well."""
    if parts.added or by.shape[-2:].numel() != 1:
        return None
    return replace(parts, left=scale(call.draft, Units(parts.left), by).ids)


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
    """A view that leaves the last two axes."""
    if len(call.shape) < 2 or call.shape[-2:] != parts.shape[-2:] or len(parts.shape) < 2:
        return None
    lead = call.shape[:-2]
    return parts.on_lead(lambda part: canonical(part.reshape(*lead, *part.shape[-2:])))

"""Normalisations written out by hand, in a module named *Norm*: their statistics are connections only where asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphsparse.capture.call import Call
from graphsparse.capture.values import Known, Units


def measured(apply: Callable[..., Any], call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A mean or norm with as many axes as its value, as statistics have: a number of unknown size where they do not count.

    NotImplemented where the call takes no such statistic.
    """
    value = args[0]
    if not isinstance(value, Units) or len(call.shape) != len(value.shape):
        return NotImplemented
    if call.statistics_count():
        return apply(call, *args, **kwargs)
    return call.constants()


def without_statistic(call: Call, args: tuple[Any, ...]) -> Any:
    """A sum with a statistic that does not count: the units pass, a zero stays zero. NotImplemented for other sums."""
    left, right = args[:2]
    if call.draft.norm_statistics or not any(isinstance(a, Known) and not a.known for a in (left, right)):
        return NotImplemented
    units = left if isinstance(left, Units) else right
    return Units(units.ids.expand(call.shape))

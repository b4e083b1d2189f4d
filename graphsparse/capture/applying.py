"""What a row of the table makes of a call: its rule, or what the row says of the special values among the arguments."""

from __future__ import annotations

from functools import partial
from typing import Any

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics.routed import for_each_expert
from graphsparse.capture.mechanics.statistics import measured, without_statistic
from graphsparse.capture.mechanics.waiting import Scores
from graphsparse.capture.table import Rule


def apply(row: Rule, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A product that waits waits on where the row says how; experts are taken one by one; norms lose their statistics."""
    scores = next((a for a in args if isinstance(a, Scores)), None)
    if scores is not None and row.waits is not None:
        parts = row.waits(call, scores.parts, *args, **kwargs)
        if parts is not None:
            return scores.but(parts)
    if row.per_expert:
        made = for_each_expert(partial(_in_place, row), call, args, kwargs, row.per_expert == "splits")
        if made is not NotImplemented:
            return made
    return _in_place(row, call, *args, **kwargs)


def _in_place(row: Rule, call: Call, *args: Any, **kwargs: Any) -> Any:
    """The rule, with regard to the module that the call stands in."""
    assert row.apply is not None, "an operation without a rule is refused"
    made = NotImplemented
    if row.norm and call.in_norm:
        made = measured(row.apply, call, args, kwargs) if row.norm == "measures" else without_statistic(call, args)
    return row.apply(call, *args, **kwargs) if made is NotImplemented else made

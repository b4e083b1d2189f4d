"""Operations whose operands are programs of their own: branches, and loops over the rows of a value."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from graphsparse.capture.call import Call
from graphsparse.capture.table import Rule
from graphsparse.capture.units import canonical
from graphsparse.capture.values import Known, Units


def cond(call: Call, predicate: Any, yes: Any, no: Any, operands: Sequence[Any] = ()) -> Any:
    """Both branches, each of whose results may be the result."""
    call.say_conservative("either branch may be taken")
    results = [tree_leaves(call.body(branch, operands)) for branch in (yes, no)]
    return tuple(_either(call, *pair) for pair in zip(*results, strict=True))


def _either(call: Call, one: Any, other: Any) -> Any:
    if isinstance(one, Units) or isinstance(other, Units):
        return call.union([one, other])
    return one if one is other else Known.of_shape(one.shape)


def mapped(call: Call, body: Any, over: Sequence[Any], operands: Sequence[Any] = ()) -> Any:
    """The body applied to every row of some values, one after the other: a scan that carries nothing."""
    return scan(call, body, (), over, operands)


def scan(call: Call, body: Any, carried: Sequence[Any], over: Sequence[Any], operands: Sequence[Any] = ()) -> Any:
    """The body applied at each step to what the step before carried on and to the next row of some values.

    Returns what the last step carried on, and the rows that all steps gave.
    """
    values = [value if isinstance(value, Known) else Units(call.ids(value)) for value in over]
    state, rows = list(carried), []
    for step in range(over[0].shape[0]):
        given = [value.moved(itemgetter(step)) for value in values]
        made = tree_leaves(call.body(body, [*state, *given, *operands]))
        state = made[: len(state)]
        rows.append(made[len(state) :])
    return (*state, *(_stacked(call, each) for each in zip(*rows, strict=True)))


def _stacked(call: Call, rows: Sequence[Any]) -> Any:
    if not any(isinstance(row, Units) for row in rows):
        return call.constants(torch.Size([len(rows), *rows[0].shape]))
    return Units(canonical(torch.stack([call.ids(row) for row in rows])))


def plainly(at: int) -> Any:
    """A rule for an operation that runs the body at that place of its arguments on those that follow."""
    return lambda call, *args, **kwargs: call.body(args[at], args[at + 1 :])


WRAPPED = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}
"""Bodies under a setting that no path depends on."""
NAMES = {"cond": cond, "map_impl": mapped, "scan": scan, **{name: plainly(at) for name, at in WRAPPED.items()}}
RULES: dict[Any, Rule] = {
    operation: Rule(rule)
    for name, rule in NAMES.items()
    if (operation := getattr(torch.ops.higher_order, name, None)) is not None
}

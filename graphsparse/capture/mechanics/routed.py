"""Rows that one of several experts makes: any expert may have made a row, but experts do not mix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.values import Known, Units, Weight


class Routed(Units):
    """A value (rows, features) whose rows some expert makes. ``experts`` (experts, rows, features): the ids that each gives."""

    def __init__(self, experts: torch.Tensor, union: Callable[[torch.Tensor], torch.Tensor]):
        self.__dict__.update(experts=experts, union=union)  # ids are made when they are read

    experts: torch.Tensor
    union: Callable[[torch.Tensor], torch.Tensor]

    @cached_property
    def ids(self) -> torch.Tensor:
        """The unit of each element, which any of the experts may have made."""
        return self.union(self.experts.movedim(0, -1))

    @property
    def shape(self) -> torch.Size:
        return self.experts.shape[1:]


def for_each_expert(
    apply: Callable[..., Any], call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], splits: bool
) -> Any:
    """What a rule makes of the rows of each expert by itself; NotImplemented where its arguments do not allow that.

    ``splits``: the rule splits an axis, which must be the last one; it is counted from the end.
    """
    first = next((a for a in args if isinstance(a, Routed)), None)
    if first is None or not all(_fits(a, first) for a in args):
        return NotImplemented
    if splits:
        value, sizes, dim = (*args, kwargs.get("dim", 0))[:3]
        if dim % len(value.shape) != len(value.shape) - 1:
            return NotImplemented
        args, kwargs = (value, sizes, -1), {}
    given = [Units(a.experts) if isinstance(a, Routed) else a for a in args]
    made = apply(replace(call, shape=torch.Size([len(first.experts), *call.shape])), *given, **kwargs)
    parts = made if isinstance(made, tuple) else (made,)
    back = tuple(Routed(part.ids, first.union) for part in parts)
    return back if isinstance(made, tuple) else back[0]


def _fits(argument: Any, first: Routed) -> bool:
    """Whether an argument means the same for a stack of experts: a setting, or a value that broadcasts against each."""
    if isinstance(argument, Routed):
        return len(argument.experts) == len(first.experts)
    return not isinstance(argument, (Units, Known, Weight)) or len(argument.shape) <= len(first.shape)

"""A row of the table of operations: all that is known of one operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

Apply = Callable[..., Any]


@dataclass(frozen=True)
class Rule:
    """What one operation does to units, to parameters, to tokens, and to the signals of SynFlow.

    ``apply(call, *args, **kwargs)`` takes the operation's own arguments, tensors replaced by `Units`, `Weight` or
    `Known`, and returns such a value or a tuple of them; ``call.draft`` makes units. Where it returns one value for an
    operation with several results, the other results are constants. None: no units go through.

    Args:
        counts: the rule where the result is integers that depend on an integer input with which the model computes;
            ``apply`` where nothing is said.
        weights: what becomes of a parameter that no input has met yet. "keeps": it stays as it is; "moves": its elements
            move; "reshapes": the same, and the result's shape says how; "joins": several are put side by side; "adds":
            several are added; "chooses": a condition chooses between several; "cuts": its elements may become zero;
            "function": each goes through a function, at its place. "": nobody says, and the operation is tried out (`graphsparse.capture.tried`).
        tokens: what becomes of integers that are inputs. "keeps": they stay tokens; "shifts": they stay tokens beside
            plain numbers. "": the result is a constant.
        kernel_at: the place of a kernel among the arguments. Its connections count even where it is applied to constants.
        product: whether it is a product of matrices; the product of two parameters is a number that the model computes.
        waits: for a product of activations that waits for its softmax (`graphsparse.capture.mechanics.waiting`): its
            parts after the operation, or None where it cannot wait on.
        per_expert: whether it is applied to the rows of each expert by itself. "splits": where the last axis is split.
        norm: its part in a normalisation written out by hand. "measures": it takes a statistic; "shifts": it subtracts one.
        flows: its linear counterpart for SynFlow, by the name that `graphsparse.pruning.synflow` has for it, or as a
            function. Where nothing is said, what keeps, moves or reshapes parameters does the same to signals.
    """

    apply: Apply | None
    counts: Apply | None = None
    weights: Literal["", "keeps", "moves", "reshapes", "joins", "adds", "chooses", "cuts", "function"] = ""
    tokens: Literal["", "keeps", "shifts"] = ""
    kernel_at: int | None = None
    product: bool = False
    waits: Apply | None = None
    per_expert: bool | Literal["splits"] = False
    norm: Literal["", "measures", "shifts"] = ""
    flows: str | Apply = ""


Table = Mapping[Any, Rule]
NO_RULE = Rule(None)


def row_of(table: Table, operation: Any) -> Rule:
    """What the table knows of an operation, which stands under itself or under its name; `NO_RULE` where it knows nothing."""
    return table.get(operation) or table.get(str(operation)) or NO_RULE


def with_extra(table: Table, extra: Mapping[Any, Rule | Apply] | None) -> Table:
    """The table with further rows; a function alone is the rule of an operation of which nothing else is known."""
    return {**table, **{key: rule if isinstance(rule, Rule) else Rule(rule) for key, rule in (extra or {}).items()}}


def rows(operations: str | Iterable[Any], rule: Rule) -> dict[Any, Rule]:
    """The same row for several operations, or for those of aten that words name (`named`)."""
    return dict.fromkeys(named(operations) if isinstance(operations, str) else operations, rule)


def named(words: str) -> list[Any]:
    """Operations of aten: ``relu`` is ``relu.default``, other overloads are named, as in ``add.Tensor``."""
    parts = [word.partition(".") for word in words.split()]
    return [getattr(getattr(torch.ops.aten, name), overload or "default") for name, _, overload in parts]

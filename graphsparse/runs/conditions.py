"""Conditions on checkpoints, for checks in CI: ``B.effective_compression < 0.9 * A.effective_compression``."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from graphsparse.errors import ArgumentError

Values = Mapping[str, Mapping[str, float]]
LONGEST = 500  # letters of a condition
_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def holds(text: str, values: Values) -> bool:
    """Whether a condition holds. Its text is parsed and its tree is walked here; Python evaluates none of it.

    Args:
        text: numbers and names with + - * / and brackets, compared by < <= > >= == !=, joined by and, or, not. A name is
            a checkpoint, a dot and a measure, as ``A.active``; a measure alone is that of the last checkpoint.
        values: ``{checkpoint: {measure: number}}``, the last checkpoint last.

    Raises:
        ArgumentError: it is no such condition, a name is not known, or a value is not defined.

    Example:
        >>> holds("active < 0.9 * A.active", {"A": {"active": 100}, "B": {"active": 80}})
        True
    """
    if len(text) > LONGEST:
        raise _refused(text[:40] + " ...", f"{len(text)} letters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(text, None) from error
    found = _value(tree, values, text)
    if not isinstance(found, bool):
        raise _refused(text, "no comparison")
    return found


def _value(node: ast.expr, values: Values, text: str) -> Any:
    """The number or the truth of a part of a condition. Raises ArgumentError for any part of another kind."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.Name):
        return _measure(next(reversed(list(values))), node.id, values)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return _measure(node.value.id, node.attr, values)
    if isinstance(node, ast.BoolOp):
        found = [_truth(each, values, text) for each in node.values]
        return all(found) if isinstance(node.op, ast.And) else any(found)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _truth(node.operand, values, text)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand, values, text)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(node.left, values, text), _number(node.right, values, text)
        if isinstance(node.op, ast.Div) and right == 0:
            raise _refused(text, "a division by 0")
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Compare) and all(type(each) in _OPERATORS for each in node.ops):
        numbers = [_number(each, values, text) for each in (node.left, *node.comparators)]
        return all(_OPERATORS[type(op)](*pair) for op, pair in zip(node.ops, pairwise(numbers)))
    raise _refused(text, ast.unparse(node)[:60])


def _number(node: ast.expr, values: Values, text: str) -> float:
    found = _value(node, values, text)
    if isinstance(found, bool):
        raise _refused(text, f"{ast.unparse(node)[:60]} as a number")
    if math.isnan(found):
        raise ArgumentError(
            "a value in a condition must be defined", place=text, received=f"{ast.unparse(node)[:60]} undefined"
        )
    return found


def _truth(node: ast.expr, values: Values, text: str) -> bool:
    found = _value(node, values, text)
    if not isinstance(found, bool):
        raise _refused(text, f"{ast.unparse(node)[:60]}, which is no comparison")
    return found


def _measure(checkpoint: str, name: str, values: Values) -> float:
    if checkpoint not in values:
        raise ArgumentError(
            "a condition must name one of the checkpoints", place="the condition", received=checkpoint,
            way_out=f"the checkpoints are {', '.join(values)}",
        )  # fmt: skip
    known = values[checkpoint]
    if name not in known:
        close = get_close_matches(name, known, 1)
        way_out = f"did you mean {close[0]}" if close else f"the measures are {', '.join(known)}"
        raise ArgumentError("a condition must name a measure", place="the condition", received=name, way_out=way_out)
    return float(known[name])


def _refused(text: str, received: str | None) -> ArgumentError:
    return ArgumentError(
        "a condition must compare measures by < <= > >= == !=, with + - * / and, or, not", place=text,
        received=received, way_out="for example B.active < 0.9 * A.active",
    )  # fmt: skip

"""Checks of values in the JSON text of a program: each returns a clean copy of its value, or raises `Unlike`."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable
from typing import Any

import torch

Check = Callable[[Any], Any]

_LONGEST_NAME, LONGEST_TEXT, _LARGEST = 1000, 10_000, 1 << 63
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PATH = re.compile(r"[\w .:/+\-]+")


class Unlike(Exception):
    """A value is not what the schema says; the text says which and why."""


def must(holds: bool, rule: str, *value: Any) -> None:
    """Raises `Unlike` unless the rule holds, with the value that breaks it where one is given."""
    if not holds:
        raise Unlike(f"{rule}, not {str(value[0])[:60]!r}" if value else rule)


def a(kind: type) -> Check:
    """A value of exactly that type (a boolean is no integer)."""

    rule = f"a value must be of type {kind.__name__}"

    def check(value: Any) -> Any:
        must(type(value) is kind, rule, value)
        return value

    return check


def listed(each: Check, most: float = math.inf) -> Check:
    """A list of such values, not longer than ``most``."""

    def check(value: Any) -> list[Any]:
        must(len(a(list)(value)) <= most, f"a list must have at most {most} entries here")
        return [each(item) for item in value]

    return check


def named(each: Check) -> Check:
    return lambda value: {name(key): each(item) for key, item in a(dict)(value).items()}


def optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def among(allowed: Any) -> Check:
    """One of a few numbers or words."""

    def check(value: Any) -> Any:
        must(type(value) in (int, str) and value in allowed, "a value must be one that is known", value)
        return value

    return check


def record(needed: dict[str, Check], others: dict[str, Check] | None = None) -> Check:
    """An object with these fields; further ones are dropped, and of ``others`` those that are not there."""

    def check(value: Any) -> dict[str, Any]:
        table = a(dict)(value)
        missing = next((key for key in needed if key not in table), None)
        must(missing is None, f"a field {missing!r} is missing")
        checks = {**needed, **(others or {})}
        return {key: each(table[key]) for key, each in checks.items() if key in table}

    return check


def one_of(arms: dict[str, Check]) -> Check:
    """An object with one field, which says what the value is."""
    rule = f"a value must be one of {', '.join(arms)}"

    def check(value: Any) -> dict[str, Any]:
        table = a(dict)(value)
        kind: Any = next(iter(table), None)
        must(len(table) == 1 and kind in arms, rule, list(table))
        return {kind: arms[kind](table[kind])}

    return check


def integer(value: Any) -> int:
    must(-_LARGEST <= a(int)(value) < _LARGEST, "an integer must fit in 64 bits", value)
    return value


def size(value: Any) -> int:
    must(integer(value) >= 0, "a size must not be negative", value)
    return value


def number(value: Any) -> Any:
    """A float in the form that torch writes: the three that are no JSON are words."""
    if value in ("Infinity", "-Infinity", "NaN"):
        return value
    found = float(integer(value)) if type(value) is int else a(float)(value)
    return found if math.isfinite(found) else "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"


def text(value: Any) -> str:
    must(len(a(str)(value)) <= LONGEST_TEXT, "a text must be short", value)
    return value


def name(value: Any) -> str:
    """A name of the program's values: torch pastes it into Python code."""
    plain = len(a(str)(value)) <= _LONGEST_NAME and bool(_NAME.fullmatch(value)) and not keyword.iskeyword(value)
    must(plain, "a name must be an identifier", value)
    return value


def path(value: Any) -> str:
    """A parameter's name: torch pastes it into Python code, and makes an attribute of it."""
    plain = len(a(str)(value)) <= _LONGEST_NAME and bool(_PATH.fullmatch(value))
    free = plain and not any(map(_is_taken, value.split(".")))
    must(free, "a parameter's name must be one that a module can have", value)
    return value


def _is_taken(part: str) -> bool:
    return not part or (part.startswith("__") and part.endswith("__")) or hasattr(torch.fx.GraphModule, part)

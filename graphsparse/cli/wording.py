"""What an error says at the command line: one line, in options where the library says arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import typer

from graphsparse.cli.signals import Stopped
from graphsparse.errors import ArgumentError, GraphsparseError

UsageError = typer.BadParameter.__mro__[1]  # click's, wherever this version of typer keeps it
BAD_INPUT, DEFECT = 2, 3
LONGEST = 2000  # letters of a message; names come from files
_ARGUMENT = re.compile(r"(?<![\w.-])([a-z_]+)=('[^']*'|\w+|(?!\w))")
_BARE = re.compile(r"([\w./-]*\w)?")  # as a value stands without quotes, and does not run into the end of a sentence
_PYTHON_ONLY = {"by_order", "extra_rules", "fold_constants"}


def explained(error: BaseException, options: Callable[[], Mapping[str, str]]) -> tuple[int, str]:
    """The exit status and the line for what ended a command; ``options()`` gives the option of each argument."""
    if isinstance(error, Stopped):
        return 128 + error.number, str(error)
    if isinstance(error, GraphsparseError):
        return BAD_INPUT, one_line(in_options(error, options()))
    if isinstance(error, UsageError):
        return BAD_INPUT, one_line(error.format_message())  # type: ignore[attr-defined]
    if isinstance(error, MemoryError):
        return BAD_INPUT, "memory must suffice for the network; received a request that it does not"
    cause = error.__cause__ if isinstance(error, Unforeseen) and error.__cause__ else error
    text = one_line(f"{type(cause).__name__}: {cause}", 300)
    return DEFECT, f"this is a defect of graphsparse: {text}. Way out: --traceback shows where; please report it."


class Unforeseen(Exception):
    """Stands for an exception that click would answer in its own way: an end of file, a broken pipe."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text on one printable line of a limited length."""
    joined = "; ".join(line.strip() for line in text[: 2 * longest].splitlines() if line.strip())
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in joined)
    return shown if len(shown) <= longest else f"{shown[:longest]} ..."


def in_options(error: GraphsparseError, known: Mapping[str, str]) -> str:
    """The error's text with the options of the command line for ``form=``, ``form='zeros'`` and so on.

    Example:
        >>> in_options(GraphsparseError("a rule", way_out="name form='zeros' or give data="), {"form": "--form"})
        'a rule. Way out: name --form zeros or give data=.'
    """

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2].strip("'")
        value = value if _BARE.fullmatch(value) else found[2]
        if name in _PYTHON_ONLY:
            return f"{found[0]} (in Python)"
        if name not in known:
            return found[0]
        return known[name] if value in ("", "True") else f"{known[name]} {value}"

    place = known.get(error.place or "", error.place) if isinstance(error, ArgumentError) else error.place
    parts = {"place": place, "received": error.received}
    way_out = None if error.way_out is None else _ARGUMENT.sub(option, error.way_out)
    return str(GraphsparseError(_ARGUMENT.sub(option, error.rule), way_out=way_out, **parts))  # type: ignore[arg-type]

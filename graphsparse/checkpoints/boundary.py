"""Errors over files of strangers: whatever goes wrong becomes one error of one printable line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphsparse.errors import CheckpointError, GraphsparseError, brief, shortened

DAMAGED = "the file is damaged or cut short: copy, download or save it again"


def check(
    holds: bool,
    rule: str,
    place: str | None,
    received: object = None,
    way_out: str | None = DAMAGED,
    error: type[GraphsparseError] = CheckpointError,
) -> None:
    """Raises the error with these parts unless the rule holds."""
    if not holds:
        raise error(rule, place=place, received=received, way_out=way_out)


@contextmanager
def refusing(place: str) -> Iterator[None]:
    """Turns every exception of the block into one of the package, its text without control characters.

    Raises:
        CheckpointError, MaskError: those of the block, cleaned; a CheckpointError for any other exception.
    """
    try:
        yield
    except GraphsparseError as error:
        if str(error).isprintable():
            raise
        parts = {"place": error.place, "received": error.received, "way_out": error.way_out}
        clean = {key: None if part is None else printable(shortened(str(part))) for key, part in parts.items()}
        raise type(error)(printable(error.rule), **clean) from error
    except Exception as error:  # the last net: libraries answer a stranger's bytes with anything
        rule, way_out = (
            "a checkpoint's content must fit its form",
            "the file is damaged, or of another form: name it with form=",
        )
        raise damaged(rule, printable(shortened(place)), error, way_out) from error


def damaged(rule: str, place: str, error: Exception, way_out: str = DAMAGED) -> CheckpointError:
    """The error of the package for what a library raised over a stranger's bytes: its kind and its first line."""
    return CheckpointError(rule, place=place, received=printable(brief(error)), way_out=way_out)


def reason(error: Exception) -> str:
    """What the system says of a file that it does not open, read or write."""
    return getattr(error, "strerror", None) or str(error)


def printable(text: str) -> str:
    """Returns the text with line ends, control characters and halves of characters written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)

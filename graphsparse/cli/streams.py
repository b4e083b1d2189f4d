"""Where text goes: answers to standard output, complaints to standard error, what libraries print nowhere."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from contextvars import ContextVar
from functools import cache
from typing import IO, TYPE_CHECKING

from graphsparse.cli.bars import announcing
from graphsparse.errors import GraphsparseError

if TYPE_CHECKING:
    from rich.console import Console

LOUD: ContextVar[bool] = ContextVar("LOUD", default=False)
"""Whether traces are shown, and what libraries print: the option --traceback."""

COMMAND: ContextVar[tuple[str, ...]] = ContextVar("COMMAND", default=())
"""What follows the program's name in the command that runs."""

OUTPUT, ERROR = 1, 2
WIDTH = 80  # where the environment says that a terminal has no columns


class NobodyReads(Exception):
    """The reader of standard output has gone, as in ``graphsparse ... | head``: nothing to complain of."""


@contextmanager
def prepared() -> Iterator[None]:
    """Makes standard streams that can be written to: closed ones, and letters that their encoding lacks."""
    token, before = LOUD.set(False), (sys.stdout, sys.stderr)
    try:
        if sys.stdout is None:
            sys.stdout = _standing_in(OUTPUT, os.O_RDONLY)  # writing fails, as it should
        if sys.stderr is None:
            sys.stderr = _standing_in(ERROR, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        yield
    finally:
        LOUD.reset(token)
        if sys.stdout is before[0] or before[0] is None:
            _flushed()
        sys.stdout, sys.stderr = (each or other for each, other in zip(before, (sys.stdout, sys.stderr)))


def _standing_in(descriptor: int, flags: int) -> IO[str]:
    """A stream for a closed descriptor, so that no file that is opened later gets its number."""
    opened = os.open(os.devnull, flags)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    return open(descriptor, "w", encoding="utf-8", closefd=False)


def _flushed() -> None:
    """What standard output still holds goes out, or nowhere; else Python complains once more at the end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):
            os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def answering() -> Iterator[Console]:
    """A console to standard output; when the block ends, what was said is out.

    Raises:
        GraphsparseError: standard output is closed or full. NobodyReads: nobody reads on.
    """
    try:
        yield console_to(sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise NobodyReads from error
    except OSError as error:
        raise GraphsparseError(
            "standard output must take what is written", received=error.strerror, way_out="give it room, or a file"
        ) from error


def console_to(file: IO[str]) -> Console:
    """A console that raises where nobody reads on, and has a width."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Plain(file=file, soft_wrap=False)
    return console if console.width > 0 else Plain(file=file, width=WIDTH)


@contextmanager
def working() -> Iterator[Console]:
    """Hides what libraries print, in Python and below it; the console goes to the real standard error."""
    with ExitStack() as stack:
        if LOUD.get():
            console, elsewhere = console_to(sys.stderr), sys.stderr
        else:
            console, elsewhere = console_to(stack.enter_context(_own_error_stream())), _nowhere()
            stack.enter_context(_hidden_below())
        stack.enter_context(redirect_stdout(elsewhere))  # standard output is for the answer alone
        stack.enter_context(redirect_stderr(elsewhere))
        stack.enter_context(announcing(console))
        yield console


@contextmanager
def warned() -> Iterator[list[str]]:
    """What this library warns of in the block, as lines of the answer; warnings of others are dropped."""
    from graphsparse.checkpoints import ReadsAsPruned

    lines: list[str] = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ReadsAsPruned)
        yield lines
    lines += [f"{warning.message}." for warning in found]


@contextmanager
def _own_error_stream() -> Iterator[IO[str]]:
    """Standard error under another descriptor; the stream itself where it is none of the system's."""
    try:
        system = sys.stderr.fileno() == ERROR
    except (OSError, ValueError, AttributeError):
        system = False
    if not system:
        yield sys.stderr
        return
    with open(os.dup(ERROR), "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1) as stream:
        yield stream


@contextmanager
def _hidden_below() -> Iterator[None]:
    """Hides standard error of compiled libraries. Standard output stays: /dev/stdout may be a file to write."""
    sys.stderr.flush()
    kept = os.dup(ERROR)
    os.dup2(_nowhere().fileno(), ERROR)
    try:
        yield
    finally:
        os.dup2(kept, ERROR)
        os.close(kept)


@cache
def _nowhere() -> IO[str]:
    """Stays open: a library that keeps the stream may write to it long after the work."""
    return open(os.devnull, "w")


def complain(line: str) -> None:
    """Prints one line to standard error, where that can be."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)

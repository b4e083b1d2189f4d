"""The command line: one file per command.

The exit status is 0; 1 after a check that fails; 2 for bad input; 3 for a defect of graphsparse; 128 and the number of
a signal that stops it. From 2 on, one line on standard error says why.
"""

from __future__ import annotations

import atexit
import gc
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from graphsparse.cli import streams
from graphsparse.cli.signals import stopping

BROKEN_PIPE = 141  # as shells report a writer that nobody reads
ALLOCATIONS = 1_000_000
"""Objects made between two looks for garbage. Python's own 700 cost a short command a quarter of its time."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit. Whatever goes wrong is one line on standard error, never a traceback."""
    with seldom(), streams.prepared(), stopping() as stop:
        try:
            status = _run(arguments)
        except BaseException as error:
            status = _answer(error)
    raise SystemExit(status or stop.status)


def _run(arguments: list[str] | None) -> int:
    streams.COMMAND.set(tuple(sys.argv[1:] if arguments is None else arguments))
    from graphsparse.cli.app import tree  # here, so that a signal during the import is answered too

    with streams.answering():  # of help, version and completion; commands answer for themselves
        return int(tree()(args=arguments, prog_name="graphsparse", standalone_mode=False) or 0)


def _answer(error: BaseException) -> int:
    """Says what went wrong, in one line, and returns the exit status."""
    from graphsparse.cli.wording import explained

    if isinstance(error, SystemExit):  # completion, and rich where nobody reads on
        return int(error.code or 0)
    if isinstance(error, streams.NobodyReads):
        return BROKEN_PIPE
    status, line = explained(error, _options)
    if streams.LOUD.get():
        streams.complain("".join(traceback.format_exception(error)).rstrip("\n"))
    if line:  # click's answer to a command without arguments is the help, which it has printed
        streams.complain(f"graphsparse: {line}")
    return status


def _options() -> dict[str, str]:
    from graphsparse.cli.app import options

    return options()


@contextmanager
def seldom() -> Iterator[None]:
    """Looks for garbage seldom in the block, and not at all when the program ends: then all memory goes at once."""
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS, *before[1:])
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        gc.set_threshold(*before)

"""Says in a terminal that loops are being compiled, which takes half a minute when an installation is first used."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class _Shown(logging.Handler):
    """Log records as lines of a console."""

    def __init__(self, console: Console):
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(record.getMessage(), style="dim", highlight=False, soft_wrap=True)


@contextmanager
def announcing(console: Console) -> Iterator[None]:
    """Prints what this library logs at INFO in the block, such as that loops are compiled; not into a pipe or a file."""
    if not console.is_terminal:
        yield
        return
    log, handler = logging.getLogger("graphsparse"), _Shown(console)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)

"""What a terminal shows of a command's work, on standard error: progress bars, which go in the end, and lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


SOON = 1.0  # seconds: what ends earlier is not shown


@contextmanager
def bars(console: Console) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Shows how many rounds are done, a bar for each name; and the parts of a capture that take over a second."""
    if not console.is_terminal:
        yield lambda name: lambda done, rounds: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from graphsparse.capture.walk import listening

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:

        def progress(name: str, soon: float = 0) -> Callable[[int, int], None]:
            task = shown.add_task(name, total=None, visible=not soon)
            timer = Timer(soon, lambda: shown.update(task, visible=True))
            timer.daemon = True
            if soon:
                timer.start()

            def step(done: int, rounds: int) -> None:
                shown.update(task, completed=done, total=rounds)
                if done >= rounds:
                    timer.cancel()  # before it has shown what took less

            return step

        with listening(partial(progress, soon=SOON)):
            yield progress


@contextmanager
def reading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Megabytes read of those of a checkpoint, from the first on that is read."""
    with bars(console) as progress:
        step = cache(lambda: progress("reading, MB"))
        yield lambda done, total: step()(done >> 20, max(total >> 20, 1))


class _Shown(logging.Handler):
    """Log records as lines of a console."""

    def __init__(self, console: Console):
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(record.getMessage(), style="dim", highlight=False, soft_wrap=True)


@contextmanager
def announcing(console: Console) -> Iterator[None]:
    """Prints what this library logs at INFO, such as that loops are compiled; not into a pipe or a file."""
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

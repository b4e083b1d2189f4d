"""Progress bars, on a terminal alone; they go when the work is done. They are for standard error: reports may be piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def bars(console: Console) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Rounds done of rounds, a bar for each name asked for."""
    if not console.is_terminal:
        yield lambda name: lambda done, rounds: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:

        def progress(name: str) -> Callable[[int, int], None]:
            task = shown.add_task(name, total=None)
            return lambda done, rounds: shown.update(task, completed=done, total=rounds)

        yield progress


@contextmanager
def reading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Bytes read of the bytes of a checkpoint."""
    if not console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("reading", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)

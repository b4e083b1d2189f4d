"""Says once that loops are being compiled, which takes half a minute when an installation is first used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

LINE = "Compiling loops for the first use (once per installation) ..."


@contextmanager
def announcing(console: Console) -> Iterator[None]:
    """Prints the line before the first loop that is compiled in the block; not into a pipe or a file."""
    if not console.is_terminal:
        yield
        return
    from numba.core import event

    class Listener(event.Listener):
        said = False

        def on_start(self, event: object) -> None:
            if not self.said:
                self.said = True
                console.print(LINE, style="dim", highlight=False, soft_wrap=True)

        def on_end(self, event: object) -> None:
            """Nothing to say."""

    listener = Listener()
    event.register("numba:compile", listener)
    try:
        yield
    finally:
        event.unregister("numba:compile", listener)

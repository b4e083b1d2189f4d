"""How far a capture is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Step = Callable[[int, int], None]
"""Called with (done, in all)."""
_LISTENER: ContextVar[Callable[[str], Step] | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Callable[[str], Step]) -> Iterator[None]:
    """Whatever is captured in the block is told: ``listener(name)`` gives what is called with (done, in all)."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def told(name: str) -> Step:
    """Begins a part of a capture; what it gives is called with (done, in all)."""
    listener = _LISTENER.get()
    return unheard if listener is None else listener(name)


def unheard(done: int, total: int) -> None:
    """Nobody listens."""

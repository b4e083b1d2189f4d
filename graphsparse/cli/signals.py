"""Stops by a signal: the work ends in good order, temporary files go, and one line says so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = "SIGINT", "SIGTERM", "SIGHUP"


class Stopped(BaseException):
    """A signal asks for the end. It is no Exception, so that no library takes it for an error of its own."""

    def __init__(self, number: int):
        self.number = number
        super().__init__(number)

    def __str__(self) -> str:
        return "interrupted" if self.number == signal.SIGINT else f"stopped by {signal.Signals(self.number).name}"


class Stop:
    """The exit status after a signal, also where a library swallows `Stopped`; 0 where none came."""

    status = 0

    def __call__(self, number: int, frame: Any) -> None:
        self.status = 128 + number
        raise Stopped(number)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Raises `Stopped` where a signal comes, if this is the main thread. Signals that are ignored stay so."""
    stop, before = Stop(), {}
    try:
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, stop)
    except ValueError:  # not the main thread
        pass
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

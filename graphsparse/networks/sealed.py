"""A stretch of another library's work in which nothing is asked, fetched or started, whatever a file says."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graphsparse.errors import ModelError

FORBIDDEN = {
    "builtins.input": "ask a question",
    "socket.connect": "use the network",
    "socket.getaddrinfo": "use the network",
    "socket.gethostbyname": "use the network",
    "subprocess.Popen": "start a program",
    "os.system": "start a program",
    "os.exec": "start a program",
    "os.posix_spawn": "start a program",
    "os.fork": "start a program",
}
"""Events of Python's audit hooks (PEP 578), and what they are in words."""


class _Here(threading.local):
    active = False


_HERE = _Here()
_HOOKED = threading.Event()


@contextmanager
def sealed() -> Iterator[None]:
    """Refuse, in this thread and inside the block, questions to the user, the network and other programs.

    Raises ModelError at the place where one of these is tried.
    """
    if not _HOOKED.is_set():  # a hook stays for ever: it is put in when it is first needed, once
        _HOOKED.set()
        sys.addaudithook(_refuse)
    before, _HERE.active = _HERE.active, True
    try:
        yield
    finally:
        _HERE.active = before


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN and _HERE.active:
        raise ModelError(
            f"a model must be built from its config.json alone: nothing there may {FORBIDDEN[event]}", received=event,
            way_out="name the model as package.module:factory",
        )  # fmt: skip

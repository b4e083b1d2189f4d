"""Loops are compiled once for all workers: one process compiles a loop, the others wait and read its code from disk.

numba alone compiles a loop in every process that needs it before another has saved it. In a new checkout that is most
loops in each worker, some seventy seconds of processor time. Where two save a loop at once, the code of one is lost.
"""

from __future__ import annotations

import fcntl
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

from numba.core.dispatcher import Dispatcher


def compile_once() -> None:
    """From here on a loop whose code is kept on disk is compiled, or read, by one process at a time."""
    plain, held = Dispatcher.compile, set()

    @wraps(plain)
    def compile_alone(self: Any, signature: Any) -> Any:
        folder = getattr(self._cache, "cache_path", None)  # none where the code is not kept
        lock = folder and Path(folder) / f"{self.py_func.__module__}.{self.py_func.__qualname__}.lock"
        if not lock or lock in held:  # a loop that needs itself for other types
            return plain(self, signature)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            held.add(lock)
            try:
                return plain(self, signature)
            finally:
                held.discard(lock)

    mock.patch.object(Dispatcher, "compile", compile_alone).start()

"""Garbage is collected seldom in a command, which ends soon."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS = 1_000_000
"""Objects made between two looks for garbage. With Python's own 700 the looks take a quarter of a short command's time."""


@contextmanager
def seldom() -> Iterator[None]:
    """Looks for garbage seldom in the block and not at all at the program's end, when all memory goes at once."""
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS, *before[1:])
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        gc.set_threshold(*before)

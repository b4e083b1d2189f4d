"""Threads by the amount of work: a pool of our own over loops that release the interpreter's lock.

One pool, no compiled thread layer: torch's pool and a second one spin against each other on a machine with a busy
core (a loop of 1 ms took 60 ms on four threads), and small work is faster on the calling thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
NAME = "graphsparse"
SERIAL = 1 << 20  # bytes that one thread passes over in less time than it takes to wake another


def limit() -> int:
    """The largest number of threads used: ``GRAPHSPARSE_THREADS``, or the cores that this process may run on."""
    wanted = os.environ.get("GRAPHSPARSE_THREADS")
    if wanted and wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    # the process is part of the key: threads do not survive a fork, and a pool without them would wait for ever
    return ThreadPoolExecutor(threads, thread_name_prefix=NAME)


def _in_pool() -> bool:
    return threading.current_thread().name.startswith(NAME)


def over(count: int, work: int, loop: Callable[[int, int], Result], align: int = 1) -> list[Result]:
    """What ``loop(first, last)`` gives on ranges that cover ``count``, in parallel where ``work`` bytes are worth it.

    Ranges begin at multiples of ``align``, so that two threads do not write to one cache line.
    """
    threads = 1 if work < 2 * SERIAL or _in_pool() else min(limit(), work // SERIAL, -(-count // align))
    if threads < 2:
        return [loop(0, count)]
    step = -(-count // (threads * align)) * align
    pool = _pool(limit(), os.getpid())
    ranges = [(first, min(first + step, count)) for first in range(0, count, step)]
    pending = [pool.submit(loop, *bounds) for bounds in ranges[1:]]
    return [loop(*ranges[0]), *(task.result() for task in pending)]


def summed(count: int, work: int, loop: Callable[[int, int], int], align: int = 1) -> int:
    """The sum of what the loop counts in ranges, see `over`."""
    return int(sum(over(count, work, loop, align)))


def each(function: Callable[[Item], Result], items: Iterable[Item], work: int) -> list[Result]:
    """``function`` of every item, in order, side by side where ``work`` bytes in all are worth it.

    The function must release the interpreter's lock, as NumPy's do. Loops that it starts by `over` stay on its thread: all
    threads of the pool may be waiting for such loops.
    """
    items = list(items)
    if work < 2 * SERIAL or limit() < 2 or len(items) < 2:  # one alone may use all threads itself
        return [function(item) for item in items]
    return list(_pool(limit(), os.getpid()).map(function, items))

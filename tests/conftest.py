"""Threads of the test workers: side by side they share the cores, instead of each taking all of them.

Set before torch and numba are imported, since both read them once. Two threads at least, so that the threaded loops run.
The collector of garbage looks seldom, and never at what stays: modules, compiled code and the tests themselves.
Each loop is compiled by one worker, and command lines run in forks of one process.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

os.environ["GRAPHSPARSE_CACHE"] = tempfile.mkdtemp(prefix="graphsparse-tests-")  # not what the user has captured
atexit.register(shutil.rmtree, os.environ["GRAPHSPARSE_CACHE"], ignore_errors=True)

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = max(2, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    for name in ("GRAPHSPARSE_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, str(share))

if "SECOND_DEVICE" not in os.environ:  # torch has one further device in a process: see `test_second_device`
    collect_ignore = ["second_device.py", "on_second_device.py"]

gc.set_threshold(50_000, 20, 20)

if sys.platform != "win32":
    from tests.compiled_once import compile_once

    compile_once()


@pytest.fixture(scope="session")
def call() -> Iterator[Any]:
    """Runs a command line in a process of its own, without the imports; see `tests.hostile.forked.Server`."""
    from tests.hostile.forked import Server

    server = Server()
    yield server
    server.close()


def pytest_collection_finish() -> None:
    """What is there before the first test is there after the last: looking through it took a tenth of the time."""
    gc.collect()
    gc.freeze()

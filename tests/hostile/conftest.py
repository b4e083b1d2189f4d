"""One process that forks, for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.forked import Server


@pytest.fixture(scope="session")
def call() -> Iterator[Server]:
    """Runs a command line; see `tests.hostile.forked.Server`."""
    server = Server()
    yield server
    server.close()

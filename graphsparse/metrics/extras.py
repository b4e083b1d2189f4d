"""Libraries that only some metrics need: imported when they are used, one error where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from graphsparse.errors import MissingExtra

MOST_EDGES = 5_000_000  # beyond, what such a library takes long for is left out of a table of all metrics


def library(module: str, extra: str) -> Any:
    """The module of an optional library.

    Raises:
        MissingExtra: it is not installed; the text names the extra that brings it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module.partition('.')[0]} must be installed for this metric",
            way_out=f"pip install 'graphsparse[{extra}]'",
        ) from error

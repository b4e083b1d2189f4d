"""The page of a value, asked for at the value: pages stand above it in the package, so theirs is looked up by name."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from graphsparse.checkpoints.atomic import replacing

_PAGES = "graphsparse.reports.page.runs"


def write_page(maker: str, found: Any, path: str | os.PathLike[str] | None, command: str | None) -> str:
    """The text of the page that ``maker`` makes of what was found, also written to a file where a path is given."""
    text: str = getattr(import_module(_PAGES), maker)(found, command)
    if path is not None:
        with replacing(path) as file:
            file.write(text.encode())
    return text

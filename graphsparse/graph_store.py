"""Captured graphs on disk, in the user's cache: found by a key, bounded in size, least recently used ones go."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from graphsparse.graph import LayeredGraph
from graphsparse.graph_file import Json, graph_from_bytes, graph_to_bytes

MOST = 256 << 20
"""Bytes of all graphs that are kept."""
LARGEST = 64 << 20
"""Bytes of one that is kept: larger ones take about as long to read as to make."""
ENDING = ".graph"


def folder() -> Path:
    """Where graphs are kept: ``GRAPHSPARSE_CACHE``, else ``graphsparse`` in ``XDG_CACHE_HOME`` or in ``~/.cache``."""
    own, common = os.environ.get("GRAPHSPARSE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    return (Path(common) if common else Path.home() / ".cache") / "graphsparse"


def key_of(*parts: Any) -> str:
    """The key of a graph that follows from these parts, and from how this version of the package captures."""
    return sha256("\0".join([_code(), *map(repr, parts)]).encode()).hexdigest()


def _code() -> str:
    """A digest of the package's own code: a change of a rule must not find what the rule before it made."""
    home, found = Path(__file__).parent, sha256()
    parts = ("*.py", "capture/**/*.py", "networks/*.py", "kernels/layout.py")
    for path in sorted(path for part in parts for path in home.glob(part)):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def find(key: str) -> tuple[LayeredGraph, Json] | None:
    """The graph that was kept under a key, and what was said about it; None where there is none that is whole."""
    try:
        path = folder() / (key + ENDING)
        with path.open("rb") as file:
            graph, about = graph_from_bytes(file.read(LARGEST + 1))
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home
        return None
    if about.pop("key", None) != key:  # a file under the name of another
        return None
    with suppress(OSError):
        os.utime(path)  # the least recently used goes first
    return graph, about


def keep(key: str, graph: LayeredGraph, about: Json) -> None:
    """Keep a graph under a key; nothing where it is too large or the folder cannot be written."""
    content = graph_to_bytes(graph, {**about, "key": key})
    if len(content) > LARGEST:
        return
    with suppress(OSError, RuntimeError):  # no home, no place, no right: what is kept only saves time
        home = folder()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(home / (key + ENDING), content)
        _make_room(home)


def _write(path: Path, content: bytes) -> None:
    """In one step, so that nobody reads half a file."""
    with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)
        finally:
            Path(file.name).unlink(missing_ok=True)


def _make_room(home: Path) -> None:
    """Remove the least recently used graphs until the others fit."""
    known = sorted(((path.stat(), path) for path in home.glob("*" + ENDING)), key=lambda each: -each[0].st_mtime)
    room = MOST
    for found, path in known:
        room -= found.st_size
        if room < 0:
            path.unlink(missing_ok=True)

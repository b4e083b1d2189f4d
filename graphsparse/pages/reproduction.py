"""How to make a report again: the command, the settings, the versions, the file's digest, the date."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from graphsparse.pages.sections import Section

LIBRARIES = ("graphsparse", "torch", "numpy", "scipy", "numba")
CHUNK = 1 << 22


@dataclass(frozen=True)
class Origin:
    """Where a result comes from: the paths that were named (none for what is in memory), and the settings."""

    sources: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def section(origin: Origin, command: str | None = None) -> Section:
    """How to make this page again; ``command`` is what was typed, where something was."""
    values = {
        "command": command,
        "settings": {name: value for name, value in origin.settings.items() if value not in (None, (), {}, "")},
        "files": [file for source in origin.sources for file in _files(source)],
        "versions": {**_versions(), "Python": platform.python_version()},
        "machine": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return Section("reproduction", "Reproduction", values)


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _files(source: str) -> list[tuple[str, int, str]]:
    """Name, bytes and SHA-256 of a file, or of the files of a folder that hold its network."""
    path, files = Path(source), [Path(source)]
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if file.suffix in (".json", ".safetensors", ".bin")]
    return [(file.name, file.stat().st_size, digest(file)) for file in files if file.is_file()]


def digest(path: Path) -> str:
    """The SHA-256 of a file, read piece by piece."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            found.update(piece)
    return found.hexdigest()

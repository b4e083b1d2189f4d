"""A folder in which what was found of each checkpoint is kept, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from graphsparse import graph_store
from graphsparse.checkpoints.atomic import replacing
from graphsparse.errors import CheckpointError
from graphsparse.graph_file import graph_to_bytes
from graphsparse.runs.snapshot import Snapshot, from_bytes, to_bytes
from graphsparse.runs.steps import ENDINGS
from graphsparse.runs.template import Template

ENTRY = ".snapshot"
OF_TRAINERS = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "trainer_state")
"""How files of a checkpoint folder begin that say nothing of the network."""


@dataclass(frozen=True)
class Sidecar:
    """A folder with a file for each checkpoint that was read.

    The file's name is a digest of the checkpoint's content and of ``key``, so that nothing is found for another
    checkpoint, other options or another version of the package.
    """

    folder: Path
    key: str

    @classmethod
    def of(cls, folder: str | os.PathLike[str], template: Template) -> Sidecar:
        """The folder, made where it is not there. Raises CheckpointError where it cannot be."""
        way, structure = template.way, next(iter(template.structures.values()))
        options = (way.resolution, way.norm_statistics, way.sources, way.form, way.part, sorted(way.model_args.items()))
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                "a sidecar must be a folder that can be written", place=str(folder), received=error.strerror,
                way_out="name another with sidecar=",
            ) from error  # fmt: skip
        return cls(Path(folder), graph_store.key_of(options, sha256(graph_to_bytes(structure.graph, {})).hexdigest()))

    def entry(self, source: Any) -> Path:
        """Where what is found of a file is kept."""
        return self.folder / (sha256(f"{self.key} {digest_of(Path(source))}".encode()).hexdigest()[:32] + ENTRY)

    def find(self, entry: Path) -> Snapshot | None:
        """What is kept there, if it is whole."""
        try:
            return from_bytes(entry.read_bytes())
        except Exception:  # not there, or not written by this class: found anew
            return None

    def keep(self, entry: Path, snapshot: Snapshot, name: str) -> None:
        """Write it in one step; ``name`` tells people whose it is."""
        content = to_bytes(snapshot, name)
        with replacing(entry) as file:
            file.write(content)


def digest_of(path: Path) -> str:
    """A digest of a checkpoint's content: of a file, or of the files of a folder with their names."""
    found, part = sha256(), bytearray(1 << 20)
    try:
        for file in _files(path):
            own = sha256()
            with file.open("rb", buffering=0) as opened:
                while count := opened.readinto(part):
                    own.update(memoryview(part)[:count])
            found.update((file.name if path.is_dir() else "").encode() + b"\0" + own.digest())
    except OSError as error:
        raise CheckpointError(
            "a checkpoint must be readable", place=str(path), received=error.strerror, way_out="check the path"
        ) from error
    return found.hexdigest()


def _files(path: Path) -> list[Path]:
    """The file itself; of a folder the files that say something of the network."""
    if not path.is_dir():
        return [path]
    return [
        file for file in sorted(path.iterdir())
        if file.suffix in (*ENDINGS, ".json") and file.is_file() and not file.name.startswith(OF_TRAINERS)
    ]  # fmt: skip

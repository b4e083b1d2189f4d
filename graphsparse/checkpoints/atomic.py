"""Writing a file so that at every moment the old one or the new one is there, whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from graphsparse.errors import CheckpointError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes the place of ``path`` when the block ends well, in one step.

    The new content is written beside the old in the same folder, brought to the disk, and renamed. When the block
    fails, or the process is killed, ``path`` is as it was; after a failure nothing is left behind. A symbolic link
    stays one: what it points to is replaced. Permissions of an old file are kept.

    Raises:
        CheckpointError: the folder is not there or not writable, or the path names a folder.
    """
    target, mode = _target(path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name[:64]}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise
    _sync_folder(target.parent)


def _target(path: str | os.PathLike[str]) -> tuple[Path, int]:
    """The file to replace, links followed, and the permissions that it has or is to have."""
    try:
        target = Path(path).resolve()
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        if target.exists():
            return target, target.stat().st_mode & 0o777
    except (OSError, RuntimeError, ValueError) as error:
        raise _unwritable(path, error) from error
    umask = os.umask(0)
    os.umask(umask)
    return target, 0o666 & ~umask


def _unwritable(path: object, error: Exception) -> CheckpointError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CheckpointError(
        "a file can be written there", place=str(path), received=reason, way_out="give a path in a writable folder"
    )


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # not every system opens folders; the rename itself is done
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)

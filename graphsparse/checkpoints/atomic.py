"""Writing a file so that at every moment the old one or the new one is there, whole."""

from __future__ import annotations

import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from graphsparse.checkpoints.boundary import reason
from graphsparse.errors import CheckpointError

try:
    import fcntl
except ImportError:  # no locks on this system: leftovers stay
    fcntl = None  # type: ignore[assignment]

_OUTPUTS = (1, 2)  # descriptors of standard output and standard error


class _Raw(io.FileIO):
    """A file that remembers why it could not be written: torch raises an error of its own instead."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file for writing that replaces ``path`` in one step when the block ends well.

    The new content is written to another file of the same folder, brought to the disk, and renamed. When the block
    fails, or the process is killed, ``path`` is as it was. A failure leaves nothing; what a killed process left is
    removed when the same file is written again. A symbolic link stays one: the file that it points to is replaced.
    Permissions, owner, group and extended attributes of an old file are kept where the system allows it. A second hard
    link keeps the old content.

    A device, a pipe, and the file that standard output goes to are written directly.

    Raises:
        CheckpointError: the folder is not there or not writable, the file is protected, the path names a folder, or
            the disk is full.
    """
    raw = None
    try:
        target, old = _found(path)
        with _beside(target, old) if old is None or _replaceable(old) else _through(target, old) as raw:
            file = io.BufferedWriter(raw)
            try:
                yield file
                file.flush()
            except BaseException:
                with suppress(Exception):  # what is still in the buffer cannot be written either
                    file.close()
                raise
    except Exception as error:
        cause = error if raw is None or raw.error is None else raw.error
        if isinstance(cause, OSError):
            raise _unwritable(path, cause) from error
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises what `replacing` would, as far as that can be known before there is anything to write."""
    target, old = _found(path)
    if _replaceable(old) and not os.access(target.parent, os.W_OK | os.X_OK):
        there = target.parent.is_dir()
        raise _unwritable(path, PermissionError("Permission denied") if there else FileNotFoundError("no such folder"))


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a device, a pipe, or where standard output goes."""
    return not _replaceable(_found(path)[1])


def _found(path: str | os.PathLike[str]) -> tuple[Path, os.stat_result | None]:
    """The file to write, links followed, and what is there already."""
    try:
        try:
            old = os.stat(path)
        except FileNotFoundError:
            return Path(path).resolve(), None
        if stat.S_ISDIR(old.st_mode):
            raise IsADirectoryError("a folder")
        if not os.access(path, os.W_OK):
            raise PermissionError("a file that you may not write to")
        return (Path(path).resolve() if _replaceable(old) else Path(path)), old
    except (OSError, RuntimeError, ValueError) as error:
        raise _unwritable(path, error) from error


def _replaceable(old: os.stat_result | None) -> bool:
    return old is None or (stat.S_ISREG(old.st_mode) and _output(old) is None)


def _output(old: os.stat_result) -> int | None:
    """The descriptor of this process's own output that goes to the same file."""
    for descriptor in _OUTPUTS:
        with suppress(OSError):
            if os.path.samestat(old, os.fstat(descriptor)):
                return descriptor
    return None


@contextmanager
def _through(path: Path, old: os.stat_result) -> Iterator[_Raw]:
    """A device or a pipe; or this process's own output, by its own descriptor, which keeps its place in the file."""
    output = _output(old)
    with _Raw(os.open(path, os.O_WRONLY) if output is None else os.dup(output), "wb") as raw:
        yield raw


@contextmanager
def _beside(target: Path, old: os.stat_result | None) -> Iterator[_Raw]:
    """A new file in the same folder, renamed to the target at the end."""
    _collect(target)
    temporary, raw = _new(target, 0o666 if old is None else 0o600)
    with raw:
        try:
            yield raw
            if old is not None:
                _keep(raw.fileno(), target, old)
            os.fsync(raw.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


def _new(target: Path, mode: int) -> tuple[Path, _Raw]:
    """A new file, locked until its writer ends; the system applies the umask to its permissions."""
    while True:
        path = target.parent / f"{_temporary_names(target)}{secrets.token_hex(4)}.part"
        raw = _Raw(path, "xb", opener=lambda name, flags: os.open(name, flags, mode))
        if fcntl is not None:
            with suppress(OSError):  # not every file system has locks
                fcntl.flock(raw.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(raw.fileno()).st_nlink:  # else another writer has removed it, before it was locked
            return path, raw
        raw.close()


def _keep(descriptor: int, target: Path, old: os.stat_result) -> None:
    """Owner, group, permissions and extended attributes of the old file, as far as this process may set them."""
    mode = stat.S_IMODE(old.st_mode)
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except OSError:
        mode &= 0o777  # not the bits that give others the rights of the owner
        with suppress(OSError):
            os.fchown(descriptor, -1, old.st_gid)
    os.fchmod(descriptor, mode)
    with suppress(OSError, AttributeError):
        for name in os.listxattr(target):
            with suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(target, name))


def _temporary_names(target: Path) -> str:
    """The beginning of the names of the target's temporary files, short enough for any file system."""
    return f".{os.fsdecode(os.fsencode(target.name)[:64])}.graphsparse-"


def _collect(target: Path) -> None:
    """Removes what killed writers of the same file left. A living writer holds a lock."""
    if fcntl is None:
        return
    ours = re.compile(re.escape(_temporary_names(target)) + r"[0-9a-f]{8}\.part")
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb") as left:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


def _unwritable(path: str | os.PathLike[str], error: Exception) -> CheckpointError:
    return CheckpointError(
        "the file to write must be one that can be written", place=os.fspath(path) or "''", received=reason(error),
        way_out="give a path in a folder that you may write to, on a disk with room",
    )  # fmt: skip


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system opens folders; the rename itself is done
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Files, whichever way their bytes are laid out: told apart by content, tensors mapped and unread."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path

from graphsparse.checkpoints.archives import exported, numpy_file, safetensors, sharded, torch_file
from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.zip_directory import check_sums, read_directory
from graphsparse.errors import CheckpointError

__all__ = ["Archive", "open_archive"]

_NPY = b"\x93NUMPY"
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def open_archive(path: str | os.PathLike[str]) -> Archive:
    """Returns the tensors of a file or folder, unread as far as its kind allows; the name's ending does not matter.

    Raises:
        CheckpointError: not there, not readable, damaged, of no known kind, or only to be read by running code.
    """
    file = _existing(path)
    if file.is_dir():
        file = sharded.checkpoint_in(file)
    return _open_file(file, index_allowed=True)


def _open_file(path: Path, index_allowed: bool = False) -> Archive:
    try:
        if not path.is_file():
            raise CheckpointError("a checkpoint must be a file or a folder", place=str(path))
        with path.open("rb") as file:
            head = file.read(16)
        return _by_content(path, head, index_allowed)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (MemoryError, RecursionError) as error:
        raise CheckpointError(
            "a checkpoint must fit in memory", place=str(path), received=type(error).__name__
        ) from error


def _by_content(path: Path, head: bytes, index_allowed: bool) -> Archive:
    if head[8:9] == b"{" and head[4:8] == b"\0\0\0\0":  # first: a length may look like another kind's first bytes
        return safetensors.read(path)
    if head.startswith(_ZIPS):
        return _zipped(path)
    if head.startswith(_NPY):
        return numpy_file.read_npy(path)
    if head.startswith(_PICKLES):
        return torch_file.read(path)
    if index_allowed and head.lstrip().startswith(b"{"):
        return sharded.read(path, _open_file)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return safetensors.read(path)
    raise CheckpointError(
        "a checkpoint must be safetensors, torch.save, torch.export, npz or npy, or an index.json of safetensors or torch",
        place=str(path), received=_described(head), way_out="save it in one of these forms",
    )  # fmt: skip


def _zipped(path: Path) -> Archive:
    members = read_directory(path, stored=False)
    if members and all(name.endswith(".npy") for name in members):
        return numpy_file.read_npz(path)
    read = exported.read if exported.is_exported(members) else torch_file.read
    return replace(read(path), check_sums=partial(check_sums, path))


def _existing(path: str | os.PathLike[str]) -> Path:
    try:
        file = Path(path)
        file.stat()
    except (OSError, ValueError) as error:  # not there, a loop of links, a name with a zero byte
        raise _unreadable(path, error) from error
    return file


def _unreadable(path: object, error: Exception) -> CheckpointError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CheckpointError("a checkpoint must be readable", place=str(path), received=reason, way_out="check the path")


def _described(head: bytes) -> str:
    """The kind of a file's first bytes. They are not shown: the file may be one that the asker may not read."""
    if not head:
        return "an empty file"
    if len(head) >= 8 and struct.unpack(">Q", head[:8])[0] < 1 << 40:
        return "a file that begins like safetensors written big end first"
    return f"a file that begins with {'text' if head.isascii() else 'other bytes'}"

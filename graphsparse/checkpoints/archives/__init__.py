"""Files, however their bytes are laid out: told apart by content, tensors mapped and unread."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path

from graphsparse.checkpoints.archives import exported, numpy_file, safetensors, sharded, torch_file
from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.mapped import MappedFile, unreadable
from graphsparse.checkpoints.archives.zip_directory import Members, check_sums
from graphsparse.checkpoints.boundary import check
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
    try:
        file = Path(path)
        file.stat()
    except (OSError, ValueError) as error:  # not there, a loop of links, a name with a zero byte
        raise unreadable(path, error) from error
    return _open_file(sharded.checkpoint_in(file) if file.is_dir() else file, index_allowed=True)


def _open_file(path: Path, index_allowed: bool = False) -> Archive:
    try:
        check(path.is_file(), "a checkpoint must be a file or a folder", str(path), way_out=None)
        return _by_content(MappedFile(path), index_allowed)
    except OSError as error:
        raise unreadable(path, error) from error
    except (MemoryError, RecursionError) as error:
        raise CheckpointError(
            "a checkpoint must fit in memory", place=str(path), received=type(error).__name__
        ) from error


def _by_content(file: MappedFile, index_allowed: bool) -> Archive:
    head = file.bytes(0, 16)
    if head[8:9] == b"{" and head[4:8] == b"\0\0\0\0":  # first: a length may look like another kind's first bytes
        return safetensors.read(file)
    if head.startswith(_ZIPS):
        return _zipped(file)
    if head.startswith(_NPY):
        return numpy_file.read_npy(file.path)
    if head.startswith(_PICKLES):
        return torch_file.read(file)
    if index_allowed and head.lstrip().startswith(b"{"):
        return sharded.read(file, _open_file)
    if head[8:9] == b"{" or file.path.suffix == ".safetensors":
        return safetensors.read(file)
    raise CheckpointError(
        "a checkpoint must be safetensors, torch.save, torch.export, npz or npy, or an index.json of safetensors or torch",
        place=file.place, received=_described(head), way_out="save it in one of these forms",
    )  # fmt: skip


def _zipped(file: MappedFile) -> Archive:
    members = Members.of(file, stored=False).table
    if members and all(name.endswith(".npy") for name in members):
        return numpy_file.read_npz(file.path)
    read = exported.read if exported.is_exported(members) else torch_file.read
    return replace(read(file), check_sums=partial(check_sums, file))


def _described(head: bytes) -> str:
    """The kind of a file's first bytes. They are not shown: the asker may not be allowed to read the file."""
    if not head:
        return "an empty file"
    if len(head) >= 8 and struct.unpack(">Q", head[:8])[0] < 1 << 40:
        return "a file that begins like safetensors written big end first"
    return f"a file that begins with {'text' if head.isascii() else 'other bytes'}"

"""Files of any kind, told apart by content, tensors mapped and unread; folders, and indices of several files."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from graphsparse.checkpoints.archives import exported, numpy_file, safetensors, torch_file
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import Archive, MappedFile, OpenedFile, unreadable
from graphsparse.checkpoints.archives.zip_directory import Members, check_sums
from graphsparse.checkpoints.boundary import check
from graphsparse.errors import CheckpointError

__all__ = ["Archive", "open_archive"]

_NPY = b"\x93NUMPY"
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# Names of a folder's checkpoint, best first. Several files that fit one of these are refused.
_IN_FOLDER = (
    "*.safetensors.index.json", "model.safetensors", "*.safetensors", "*.bin.index.json", "pytorch_model.bin",
    "*.pt2", "*.bin", "*.pt", "*.pth", "*.npz",
)  # fmt: skip


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
    return _open_file(_checkpoint_in(file) if file.is_dir() else file, index_allowed=True)


def _open_file(path: Path, index_allowed: bool = False) -> Archive:
    try:
        check(path.is_file(), "a checkpoint must be a file or a folder", str(path), way_out=None)
        return _by_content(path, index_allowed)
    except OSError as error:
        raise unreadable(path, error) from error
    except (MemoryError, RecursionError) as error:
        rule = "a checkpoint must fit in memory"
        raise CheckpointError(rule, place=str(path), received=type(error).__name__) from error


def _by_content(path: Path, index_allowed: bool) -> Archive:
    with OpenedFile(path) as opened:
        head = opened.bytes(0, 16)
        is_safetensors = head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"  # its length may look like another kind's mark
        is_zip = head.startswith(_ZIPS) and not is_safetensors
        members = Members.of(opened, stored=False).table if is_zip else {}
    if members and all(name.endswith(".npy") for name in members):
        return numpy_file.read_npz(path)
    if head.startswith(_NPY):
        return numpy_file.read_npy(path)
    file = MappedFile(path)
    if is_safetensors:
        return safetensors.read(file)
    if is_zip:
        read = exported.read if exported.is_exported(members) else torch_file.read
        return replace(read(file), check_sums=partial(check_sums, file))
    if head.startswith(_PICKLES):
        return torch_file.read(file)
    if index_allowed and head.lstrip().startswith(b"{"):
        return _pieces(file)
    if head[8:9] == b"{" or file.path.suffix == ".safetensors":
        return safetensors.read(file)
    raise CheckpointError(
        "a checkpoint must be safetensors, torch.save, torch.export, npz or npy, or an index.json of safetensors or torch",
        place=file.place, received=_described(head), way_out="save it in one of these forms",
    )  # fmt: skip


def _described(head: bytes) -> str:
    """The kind of a file's first bytes. They are not shown: the asker may not be allowed to read the file."""
    if not head:
        return "an empty file"
    if len(head) >= 8 and struct.unpack(">Q", head[:8])[0] < 1 << 40:
        return "a file that begins like safetensors written big end first"
    return f"a file that begins with {'text' if head.isascii() else 'other bytes'}"


def _checkpoint_in(folder: Path) -> Path:
    """The one checkpoint of a folder: an index, or a single file. Raises where there are several, or none."""
    for pattern in _IN_FOLDER:
        found = sorted(folder.glob(pattern))
        names = ", ".join(path.name for path in found[:6])
        way_out = "name the file, or the index.json of a checkpoint in pieces"
        check(len(found) < 2, "a folder must hold one checkpoint", str(folder), names, way_out)
        if found:
            return found[0]
    way_out = f"one of {', '.join(_IN_FOLDER)}"
    raise CheckpointError("a folder must hold a checkpoint", place=str(folder), way_out=way_out)


def _pieces(file: MappedFile) -> Archive:
    """The tensors of all the files that an index names, in the index's order, mapped and unread.

    Raises where the index names a tensor twice, a file outside its folder, files that are missing (the error names them
    all), or a tensor that is not in its file.
    """
    place, folder = file.place, file.path.parent
    weight_map = _weight_map(file.bytes(0, file.size), place)
    names = dict.fromkeys(weight_map.values())
    missing = [name for name in names if not (folder / name).exists()]
    check(not missing, "every piece of a checkpoint must be there", place,
          f"{len(missing)} of {len(names)} missing: {', '.join(missing[:6])}",
          "download the missing files into the same folder")  # fmt: skip
    pieces = {name: _open_file(folder / name) for name in names}
    tensors, owners = {}, {}
    for tensor, name in weight_map.items():
        content = pieces[name].content
        found: Any = content.get(tensor) if isinstance(content, dict) else None
        there, way_out = isinstance(found, torch.Tensor), "download index and pieces of the same version again"
        rule = "a tensor must be in the file that the index names"
        check(there, rule, f"{tensor} in {place}", pieces[name].place, way_out)
        tensors[tensor], owners[found.data_ptr()] = found, pieces[name]

    def release(tensor: torch.Tensor) -> None:
        if tensor.data_ptr() in owners:
            owners[tensor.data_ptr()].release(tensor)

    return Archive(place, tensors, {}, sum(piece.file_bytes or 0 for piece in pieces.values()), release)


def _weight_map(text: bytes, place: str) -> dict[str, str]:
    weight_map: Any = read_object(text, place).get("weight_map")
    mapped = isinstance(weight_map, dict) and bool(weight_map)
    check(mapped, "an index must have a weight_map from tensors to files", place, way_out="name the checkpoint itself")
    for tensor, name in weight_map.items():
        plain = isinstance(name, str) and "\\" not in name and "\0" not in name and PurePosixPath(name).name == name
        rule, way_out = (
            "an index must name files of its own folder",
            "put the pieces beside the index and name them plainly",
        )
        check(plain and name not in ("", "..", "."), rule, f"{tensor} in {place}", str(name)[:120], way_out)
    return weight_map

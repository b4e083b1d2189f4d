"""Checkpoints in pieces: an index that says which tensor is in which file, and folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.checkpoints.boundary import check
from graphsparse.errors import CheckpointError

# Names of a folder's checkpoint, best first. Several files that fit one of these are refused.
_IN_FOLDER = (
    "*.safetensors.index.json", "model.safetensors", "*.safetensors", "*.bin.index.json", "pytorch_model.bin",
    "*.pt2", "*.bin", "*.pt", "*.pth", "*.npz",
)  # fmt: skip


def checkpoint_in(folder: Path) -> Path:
    """Returns the one checkpoint of a folder: an index, or a single file.

    Raises:
        CheckpointError: none, or several between which only the user can choose.
    """
    for pattern in _IN_FOLDER:
        found = sorted(folder.glob(pattern))
        check(len(found) < 2, "a folder must hold one checkpoint", str(folder), ", ".join(path.name for path in found[:6]),
              "name the file, or the index.json of a checkpoint in pieces")  # fmt: skip
        if found:
            return found[0]
    way_out = f"one of {', '.join(_IN_FOLDER)}"
    raise CheckpointError("a folder must hold a checkpoint", place=str(folder), way_out=way_out)


def read(file: MappedFile, open_file: Callable[[Path], Archive]) -> Archive:
    """Returns the tensors of all the files that an index names, in the index's order, mapped and unread.

    Raises:
        CheckpointError: the index names a tensor twice, a file outside its folder, a file that is missing (all of
            them at once), or a tensor that is not in its file.
    """
    place, folder = file.place, file.path.parent
    weight_map = _weight_map(file.bytes(0, file.size), place)
    names = dict.fromkeys(weight_map.values())
    missing = [name for name in names if not (folder / name).exists()]
    check(not missing, "every piece of a checkpoint must be there", place,
          f"{len(missing)} of {len(names)} missing: {', '.join(missing[:6])}",
          "download the missing files into the same folder")  # fmt: skip
    pieces = {name: open_file(folder / name) for name in names}
    tensors, owners = {}, {}
    for tensor, name in weight_map.items():
        content = pieces[name].content
        found: Any = content.get(tensor) if isinstance(content, dict) else None
        check(isinstance(found, torch.Tensor), "a tensor must be in the file that the index names", f"{tensor} in {place}",
              pieces[name].place, "download index and pieces of the same version again")  # fmt: skip
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
        check(plain and name not in ("", "..", "."), "an index must name files of its own folder", f"{tensor} in {place}",
              str(name)[:120], "put the pieces beside the index and name them plainly")  # fmt: skip
    return weight_map

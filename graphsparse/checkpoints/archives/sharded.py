"""Checkpoints in pieces: an index that says which tensor is in which file, and folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.errors import CheckpointError

# What a folder's checkpoint is, best first: within a line several files are several candidates, and are refused.
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
        if len(found) == 1:
            return found[0]
        if found:
            raise CheckpointError(
                "a folder must hold one checkpoint", place=str(folder), received=", ".join(path.name for path in found[:6]),
                way_out="name the file, or the index.json of a checkpoint in pieces",
            )  # fmt: skip
    raise CheckpointError(
        "a folder must hold a checkpoint", place=str(folder), way_out=f"one of {', '.join(_IN_FOLDER)}"
    )


def read(path: Path, open_file: Callable[[Path], Archive]) -> Archive:
    """Returns the tensors of all the files that an index names, in the index's order, mapped and unread.

    Raises:
        CheckpointError: the index names a tensor twice, a file outside its folder, a file that is missing (all of
            them at once), or a tensor that is not in its file.
    """
    weight_map = _weight_map(path)
    files = dict.fromkeys(weight_map.values())
    missing = [name for name in files if not (path.parent / name).exists()]
    if missing:
        raise CheckpointError(
            "every piece of a checkpoint must be there", place=str(path),
            received=f"{len(missing)} of {len(files)} missing: {', '.join(missing[:6])}",
            way_out="download the missing files into the same folder",
        )  # fmt: skip
    pieces = {name: open_file(path.parent / name) for name in files}
    tensors = {tensor: _piece(pieces[name], tensor, path) for tensor, name in weight_map.items()}
    owners = {tensor.data_ptr(): pieces[weight_map[name]] for name, tensor in tensors.items()}

    def release(tensor: torch.Tensor) -> None:
        if tensor.data_ptr() in owners:
            owners[tensor.data_ptr()].release(tensor)

    size = sum(piece.file_bytes or 0 for piece in pieces.values())
    return Archive(str(path), tensors, {}, size, release)


def _weight_map(path: Path) -> dict[str, str]:
    place = str(path)
    weight_map = read_object(path.read_bytes(), place).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            "an index must have a weight_map from tensors to files", place=place, way_out="name the checkpoint itself"
        )
    for tensor, name in weight_map.items():
        plain = isinstance(name, str) and "\\" not in name and "\0" not in name and PurePosixPath(name).name == name
        if not plain or name in ("", "..", "."):
            raise CheckpointError(
                "an index must name files of its own folder", place=f"{tensor} in {place}", received=str(name)[:120],
                way_out="put the pieces beside the index and name them plainly",
            )  # fmt: skip
    return weight_map


def _piece(piece: Archive, tensor: str, path: Path) -> Any:
    content = piece.content
    if not isinstance(content, dict) or not isinstance(content.get(tensor), torch.Tensor):
        raise CheckpointError(
            "a tensor must be in the file that the index names", place=f"{tensor} in {path}", received=piece.place,
            way_out="download index and pieces of the same version again",
        )  # fmt: skip
    return content[tensor]

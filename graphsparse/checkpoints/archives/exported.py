"""Archives of torch.export (.pt2): the weights, read without loading the program."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.checkpoints.archives.torch_file import refusal
from graphsparse.checkpoints.archives.zip_directory import data_offset, read_directory
from graphsparse.checkpoints.checks import check_expansion
from graphsparse.errors import CheckpointError

# torch._export.serde.schema.ScalarType: part of the file format
_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
    7: torch.float32, 8: torch.float64, 10: torch.complex64, 11: torch.complex128, 12: torch.bool,
    13: torch.bfloat16, 28: torch.uint16, 29: torch.float8_e4m3fn, 30: torch.float8_e5m2,
    31: torch.float8_e4m3fnuz, 32: torch.float8_e5m2fnuz, 33: torch.float8_e8m0fnu, 34: torch.uint32,
    35: torch.uint64,
}  # fmt: skip
_STRIDED = 7
_CONFIG = re.compile(r"(^|/)data/weights/[^/]*_weights_config\.json$")
_OLD_STATE = re.compile(r"(^|/)(data/weights/[^/]*\.pt|serialized_state_dict\.pt)$")


def is_exported(members: Mapping[str, zipfile.ZipInfo]) -> bool:
    """Whether a zip archive's members are those of a torch.export archive, of any version."""
    ends = {name.rsplit("/", 1)[-1] for name in members}
    return "archive_format" in ends or "serialized_exported_program.json" in ends


def read(path: Path) -> Archive:
    """Returns the state dict of an exported program, mapped and unread; the program itself is not touched.

    Raises:
        CheckpointError: damaged, several programs in one archive, or weights that only running code could read.
    """
    members = read_directory(path, stored=True)
    file = MappedFile(path)
    configs = [name for name in members if _CONFIG.search(name)]
    old = [name for name in members if _OLD_STATE.search(name)]
    if len(configs) + len(old) != 1:
        raise CheckpointError(
            "an exported archive holds one program's weights", place=str(path),
            received=", ".join(configs + old) or "none", way_out="export one program to the archive",
        )  # fmt: skip
    if old:
        content = unpickle_tensors(member_bytes(file, members[old[0]]), f"{old[0]} in {path}")
        return Archive(str(path), "exported", content, {}, file.size)
    config = payloads(file, members[configs[0]], str(path))
    folder = configs[0].rsplit("/", 1)[0]
    tensors = {name: _weight(file, members, folder, payload, f"{name} in {path}") for name, payload in config.items()}
    return Archive(str(path), "exported", tensors, {}, file.size, file.release)


def payloads(file: MappedFile, member: zipfile.ZipInfo, place: str) -> dict[str, Any]:
    """The table of an archive's tensors: {name: {path_name, use_pickle, tensor_meta}}."""
    config = read_object(member_bytes(file, member), f"{member.filename} in {place}").get("config")
    if not isinstance(config, dict) or not all(isinstance(payload, dict) for payload in config.values()):
        raise CheckpointError("an exported archive lists its tensors", place=f"{member.filename} in {place}")
    return config


def member_bytes(file: MappedFile, member: zipfile.ZipInfo) -> bytes:
    begin = _begin(file, member)
    return file.bytes(begin, begin + member.file_size)


def unpickle_tensors(data: bytes, place: str) -> Any:
    """Returns what torch.save wrote to these bytes, tensors and plain containers alone."""
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a stranger's bytes make torch raise anything
        raise refusal(error, place) from error


def _begin(file: MappedFile, member: zipfile.ZipInfo) -> int:
    begin = data_offset(file.bytes(member.header_offset, member.header_offset + 30), member)
    if begin + member.file_size > file.size:
        raise CheckpointError("members lie within their archive", place=f"{member.filename} in {file.path}")
    return begin


def _weight(
    file: MappedFile, members: Mapping[str, zipfile.ZipInfo], folder: str, payload: dict[str, Any], place: str
) -> torch.Tensor:
    member = members.get(f"{folder}/{payload.get('path_name')}")
    if member is None:
        raise CheckpointError("a listed tensor is in the archive", place=place, received=str(payload.get("path_name")))
    if payload.get("use_pickle"):
        tensor = unpickle_tensors(member_bytes(file, member), place)
        if not isinstance(tensor, torch.Tensor):
            raise CheckpointError("a listed tensor is a tensor", place=place, received=type(tensor).__name__)
        return tensor
    try:
        return _strided(file, member, payload["tensor_meta"], place)
    except CheckpointError:
        raise
    except Exception as error:  # a stranger's numbers may be of any kind
        raise CheckpointError(
            "a tensor's description fits its bytes", place=place, received=f"{type(error).__name__}: {error}"[:160]
        ) from error


def _strided(file: MappedFile, member: zipfile.ZipInfo, meta: dict[str, Any], place: str) -> torch.Tensor:
    sizes = [int(size["as_int"]) for size in meta["sizes"]]
    strides = [int(stride["as_int"]) for stride in meta["strides"]]
    check_expansion(sizes, file.size, place)
    if meta["layout"] != _STRIDED or meta["dtype"] not in _DTYPES or min(sizes + strides, default=0) < 0:
        raise CheckpointError("weights are dense", place=place, received=f"layout {meta['layout']}, {meta['dtype']}")
    dtype = _DTYPES[meta["dtype"]]
    flat = file.tensor(dtype, (member.file_size // dtype.itemsize,), _begin(file, member))
    offset = int(meta["storage_offset"]["as_int"])
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if 0 not in sizes and not 0 <= offset <= last < flat.numel():
        raise CheckpointError("a tensor lies within its bytes", place=place, received=f"{sizes} in {flat.numel()}")
    return torch.as_strided(flat, sizes, strides, offset) if 0 not in sizes else torch.empty(sizes, dtype=dtype)

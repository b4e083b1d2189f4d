"""Archives of torch.export (.pt2): the weights, read without loading the program."""

from __future__ import annotations

import math
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from graphsparse.checkpoints.archives import program_schema as schema
from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.budget import Budget
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.checkpoints.archives.program_values import Unlike
from graphsparse.checkpoints.archives.torch_file import read_bytes
from graphsparse.checkpoints.archives.zip_directory import data_offset, directory_of
from graphsparse.checkpoints.checks import check_expansion
from graphsparse.errors import CheckpointError

_CONFIG = re.compile(r"(^|/)data/weights/[^/]*_weights_config\.json$")
_ALWAYS_ALLOWED = 1 << 28  # bytes of objects: a program's text is mostly small ones
_OLD_STATE = re.compile(r"(^|/)(data/weights/[^/]*\.pt|serialized_state_dict\.pt)$")


@dataclass(frozen=True, eq=False)
class Members:
    """An open archive: its one map of the file, and where its members lie."""

    file: MappedFile
    table: Mapping[str, zipfile.ZipInfo]

    @property
    def place(self) -> str:
        """The file, for messages."""
        return str(self.file.path)

    def within(self, name: str) -> str:
        """A member's name, for messages."""
        return f"{name} in {self.file.path}"

    def begin(self, name: str) -> int:
        """Where in the file a member's bytes begin."""
        member = self.table[name]
        begin = data_offset(self.file.bytes(member.header_offset, member.header_offset + 30), member)
        if begin + member.file_size > self.file.size:
            raise CheckpointError("members must lie within their archive", place=self.within(name))
        return begin

    def size(self, name: str) -> int:
        """How many bytes a member has."""
        return self.table[name].file_size

    def bytes(self, name: str) -> bytes:
        """A member's bytes."""
        begin = self.begin(name)
        return self.file.bytes(begin, begin + self.size(name))

    def json(self, name: str) -> dict[str, Any]:
        """A member's JSON object. Raises where its objects and lists would take far more memory than its text."""
        budget = Budget(max(_ALWAYS_ALLOWED, 4 * self.file.size), self.within(name))
        return read_object(self.bytes(name), self.within(name), budget)


def open_members(path: Path) -> Members:
    """Opens an archive of torch.export. The file is opened once: its directory and its members are of the same bytes.

    Raises:
        CheckpointError: no zip file, damaged, or of a machine whose numbers have the other byte order.
    """
    file = MappedFile(path)
    table = directory_of(file.stream(), str(path), stored=True)
    members = Members(file, table)
    order = next((name for name in table if name.rpartition("/")[2] == "byteorder"), None)
    if order is not None and members.bytes(order) != sys.byteorder.encode():
        raise CheckpointError(f"an exported archive's numbers must be {sys.byteorder} end first", place=members.place)
    return members


def is_exported(members: Mapping[str, zipfile.ZipInfo]) -> bool:
    """Whether a zip archive's members are those of a torch.export archive, of any version."""
    ends = {name.rsplit("/", 1)[-1] for name in members}
    return "archive_format" in ends or "serialized_exported_program.json" in ends


def read(path: Path) -> Archive:
    """Returns the state dict of an exported program, mapped and unread; the program itself is not touched.

    Raises:
        CheckpointError: damaged, several programs in one archive, or weights that only running code could read.
    """
    members = open_members(path)
    configs = [name for name in members.table if _CONFIG.search(name)]
    old = [name for name in members.table if _OLD_STATE.search(name)]
    if len(configs) + len(old) != 1:
        raise CheckpointError(
            "an exported archive must hold one program's weights", place=str(path),
            received=", ".join(configs + old) or "none", way_out="export one program to the archive",
        )  # fmt: skip
    if old:
        content = read_bytes(members.bytes(old[0]), members.within(old[0]))
        return Archive(str(path), content, {}, members.file.size)
    tensors = {name: weight for name, (weight, _) in stored_tensors(members, configs[0]).items()}
    return Archive(str(path), tensors, {}, members.file.size, members.file.release)


def stored_tensors(
    members: Members, config: str, *, hollow: bool = False
) -> dict[str, tuple[torch.Tensor, dict[str, Any]]]:
    """Returns the tensors that a table of an archive lists, mapped, each with what the table says of it.

    Those that share bytes in the archive share memory. None is ever unpickled. ``hollow``: a tensor that was saved
    without its content is on the meta device, not an error.
    """
    try:
        table = schema.payloads(members.json(config))["config"]
    except (Unlike, RecursionError) as error:
        raise CheckpointError(
            "an exported archive must list its tensors", place=members.within(config), received=str(error)[:160]
        ) from error
    flat: dict[tuple[str, torch.dtype], torch.Tensor] = {}
    elements, found = 0, {}
    for name, payload in table.items():
        place = f"{name} in {members.place}"
        meta = _described(payload, place)
        elements += math.prod(_integers(meta["sizes"]))
        check_expansion([elements], members.file.size, place)
        member = f"{config.rpartition('/')[0]}/{payload['path_name']}"
        if member not in members.table:
            raise CheckpointError("a listed tensor must be in the archive", place=place, received=payload["path_name"])
        try:
            tensor = _stored(members, member, meta, flat, hollow)
        except (ValueError, RuntimeError, OverflowError) as error:
            brief = (str(error).splitlines() or [""])[0][:160]
            raise CheckpointError("a tensor must lie within its bytes", place=place, received=brief) from error
        found[name] = (tensor, payload)
    return found


def _described(payload: dict[str, Any], place: str) -> dict[str, Any]:
    """What a table says of a tensor. Raises where only a pickle could say more."""
    if payload["use_pickle"] or payload.get("tensor_meta") is None:
        raise CheckpointError(
            "a checkpoint must be readable without code execution", place=place, received="a pickled tensor or object",
            way_out="export the model with plain tensors as its weights",
        )  # fmt: skip
    return payload["tensor_meta"]


def _integers(sizes: list[dict[str, int]]) -> list[int]:
    return [size["as_int"] for size in sizes]


def _stored(
    members: Members, member: str, meta: dict[str, Any], flat: dict[tuple[str, torch.dtype], torch.Tensor], hollow: bool
) -> torch.Tensor:
    sizes, strides, offset = _integers(meta["sizes"]), _integers(meta["strides"]), meta["storage_offset"]["as_int"]
    dtype = schema.DTYPES[meta["dtype"]]
    if 0 in sizes or (hollow and not members.size(member)):
        return torch.empty(sizes, dtype=dtype, device="meta" if hollow and 0 not in sizes else "cpu")
    key = (member, dtype)
    if key not in flat:
        count = members.size(member) // dtype.itemsize
        flat[key] = members.file.tensor(dtype, (count,), members.begin(member))
    if len(sizes) != len(strides):
        raise ValueError(f"{len(sizes)} sizes and {len(strides)} strides")
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if last >= flat[key].numel():
        raise ValueError(f"{sizes} in {flat[key].numel()}")
    return torch.as_strided(flat[key], sizes, strides, offset)

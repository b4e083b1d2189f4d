"""Archives of torch.export (.pt2): the weights, read without loading the program."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import torch

from graphsparse.checkpoints.archives import program_schema as schema
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import Archive, MappedFile
from graphsparse.checkpoints.archives.program_values import Unlike
from graphsparse.checkpoints.archives.torch_file import read_bytes
from graphsparse.checkpoints.archives.zip_directory import Members
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.checks import Budget, Unfolding
from graphsparse.errors import CheckpointError, brief

_CONFIG = re.compile(r"(^|/)data/weights/[^/]*_weights_config\.json$")
_OLD_STATE = re.compile(r"(^|/)(data/weights/[^/]*\.pt|serialized_state_dict\.pt)$")
_ALWAYS_ALLOWED = 1 << 28  # bytes of objects: a program's text is mostly small ones


def open_members(file: MappedFile) -> Members:
    """Returns the members of an archive of torch.export. Raises where its numbers have the other byte order."""
    members = Members.of(file, stored=True)
    order = next((name for name in members.table if name.rpartition("/")[2] == "byteorder"), None)
    same = order is None or members.bytes(order) == sys.byteorder.encode()
    check(same, f"an exported archive's numbers must be {sys.byteorder} end first", file.place, way_out=None)
    return members


def member_object(members: Members, name: str) -> dict[str, Any]:
    """A member's JSON object. Raises where its objects and lists would take far more memory than its text."""
    budget = Budget(max(_ALWAYS_ALLOWED, 4 * members.octets.size), members.within(name))
    return read_object(members.bytes(name), members.within(name), budget)


def is_exported(members: Iterable[str]) -> bool:
    """Whether the members of a zip archive are those of a torch.export archive, of any version."""
    ends = {name.rsplit("/", 1)[-1] for name in members}
    return "archive_format" in ends or "serialized_exported_program.json" in ends


def read(file: MappedFile) -> Archive:
    """Returns the state dict of an exported program, mapped and unread. The program itself is not read.

    Raises where there are several programs in one archive, or weights that only running code could read.
    """
    members = open_members(file)
    configs = [name for name in members.table if _CONFIG.search(name)]
    old = [name for name in members.table if _OLD_STATE.search(name)]
    check(len(configs) + len(old) == 1, "an exported archive must hold one program's weights", file.place,
          ", ".join(configs + old) or "none", "export one program to the archive")  # fmt: skip
    if old:
        return Archive(file.place, read_bytes(members.bytes(old[0]), members.within(old[0])), {}, file.size)
    tensors = {name: weight for name, (weight, _) in stored_tensors(members, configs[0]).items()}
    return Archive(file.place, tensors, {}, file.size, file.release)


def stored_tensors(
    members: Members, config: str, *, hollow: bool = False
) -> dict[str, tuple[torch.Tensor, dict[str, Any]]]:
    """Returns the tensors that a table of an archive lists, mapped, each with what the table says of it.

    Those that share bytes in the archive share memory. None is ever unpickled. ``hollow``: a tensor that was saved
    without its content is on the meta device, not an error.
    """
    try:
        table = schema.payloads(member_object(members, config))["config"]
    except (Unlike, RecursionError) as error:
        rule = "an exported archive must list its tensors"
        raise CheckpointError(rule, place=members.within(config), received=str(error)[:160]) from error
    flat: dict[tuple[str, torch.dtype], torch.Tensor] = {}
    found, unfolding = {}, Unfolding(members.octets.size)
    for name, payload in table.items():
        place, meta = members.within(name), payload.get("tensor_meta")
        plain = not payload["use_pickle"] and meta is not None
        check(plain, "a checkpoint must be readable without code execution", place, "a pickled tensor or object",
              "export the model with plain tensors as its weights")  # fmt: skip
        unfolding.add(_integers(meta["sizes"]), place)
        member = f"{config.rpartition('/')[0]}/{payload['path_name']}"
        listed = member in members.table
        check(listed, "a listed tensor must be in the archive", place, payload["path_name"], way_out=None)
        try:
            found[name] = _stored(members, member, meta, flat, hollow), payload
        except (ValueError, RuntimeError, OverflowError) as error:
            rule = "a tensor must lie within its bytes"
            raise CheckpointError(rule, place=place, received=brief(error)) from error
    return found


def _integers(sizes: list[dict[str, int]]) -> list[int]:
    return [size["as_int"] for size in sizes]


def _stored(
    members: Members, member: str, meta: dict[str, Any], flat: dict[tuple[str, torch.dtype], torch.Tensor], hollow: bool
) -> torch.Tensor:
    sizes, strides, offset = _integers(meta["sizes"]), _integers(meta["strides"]), meta["storage_offset"]["as_int"]
    dtype = schema.DTYPES[meta["dtype"]]
    begin, end = members.span(member)
    if 0 in sizes or (hollow and begin == end):
        return torch.empty(sizes, dtype=dtype, device="meta" if hollow and 0 not in sizes else "cpu")
    key = (member, dtype)
    if key not in flat:
        flat[key] = members.octets.tensor(dtype, ((end - begin) // dtype.itemsize,), begin)
    if len(sizes) != len(strides):
        raise ValueError(f"{len(sizes)} sizes and {len(strides)} strides")
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if last >= flat[key].numel():
        raise ValueError(f"{sizes} in {flat[key].numel()}")
    return torch.as_strided(flat[key], sizes, strides, offset)

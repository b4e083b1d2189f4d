"""Files of torch.save, mapped and unread: the zip form, and the old form from before torch 1.6."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.budget import Budget
from graphsparse.checkpoints.archives.mapped import MappedFile, Octets
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.archives.pickles import read_pickle
from graphsparse.checkpoints.archives.rebuilding import Storage, outline, vocabulary
from graphsparse.checkpoints.archives.zip_directory import data_offset, directory_of
from graphsparse.checkpoints.boundary import CUT_SHORT, damaged
from graphsparse.errors import CheckpointError, GraphsparseError

_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
_PROTOCOL = 1001  # torch.serialization.PROTOCOL_VERSION
_LONGEST_KEY = 64
_STORAGE = 200  # bytes that a description of a storage takes
_PICKLE = re.compile(r"^([^/]+)/data\.pkl$")
_PROGRAM = re.compile(r"(^|/)(constants\.pkl|code/)")


def read(path: Path) -> Archive:
    """Returns what torch.save wrote, as nested; tensors stay unread until they are used.

    Nothing in the file is run, and nothing of torch reads it: see `pickles` and `rebuilding`.

    Raises:
        CheckpointError: the file is damaged, a bomb, or asks for code to be run.
    """
    file = MappedFile(path)
    return Archive(str(path), read_octets(file), {}, file.size, file.release)


def read_octets(octets: Octets) -> Any:
    """Returns what torch.save wrote to these bytes; errors as `read`."""
    budget = Budget.of_file(octets.size, octets.place)
    try:
        return (_zipped if octets.bytes(0, 4) == b"PK\3\4" else _legacy)(octets, budget)
    except GraphsparseError:
        raise
    except Exception as error:  # a stranger's bytes make a pickle fail with anything
        raise damaged("a torch checkpoint must read as torch.save wrote it", octets.place, error) from error


def read_bytes(data: bytes, place: str) -> Any:
    """Returns what torch.save wrote to these bytes, as for a file inside another; errors as `read`."""
    return read_octets(Octets(bytearray(data), len(data), place))


def write(file: BinaryIO, tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> None:
    """Writes the tensors as one state dict (the form has no place for metadata)."""
    torch.save({name: pending.tensor().contiguous() for name, pending in tensors.items()}, file)


def _zipped(octets: Octets, budget: Budget) -> Any:
    _check_no_program(directory_of(octets.stream(), octets.place, stored=False), octets.place)
    members = directory_of(octets.stream(), octets.place, stored=True)
    roots = [found[1] for found in map(_PICKLE.match, members) if found]
    if len(roots) != 1:
        raise CheckpointError("a torch file must hold one data.pkl", place=octets.place, received=f"{len(roots)}")
    text = octets.view(*_span(octets, members[f"{roots[0]}/data.pkl"]))
    order = f"{roots[0]}/byteorder"
    swapped = order in members and octets.bytes(*_span(octets, members[order])) == b"big"

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        begin, end = _span(octets, members[f"{roots[0]}/data/{key}"])
        return Storage(begin, _within(count * dtype.itemsize, end - begin, octets.place), dtype, swapped)

    return read_pickle(text, 0, vocabulary(octets, _storages(storage, budget), budget), budget)[0]


def _span(octets: Octets, member: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member's bytes lie."""
    begin = data_offset(octets.bytes(member.header_offset, member.header_offset + 30), member)
    _within(begin + member.file_size, octets.size, octets.place)
    return begin, begin + member.file_size


def _legacy(octets: Octets, budget: Budget) -> Any:
    """The old form: four pickles, the keys of the storages, and the storages, each after its number of elements.

    The tensors' pickle comes before it is known where the storages lie, so it is read twice: for the types of the
    storages, and for the tensors.
    """
    types: dict[str, torch.dtype] = {}

    def note(dtype: torch.dtype, key: str, count: int) -> Storage:
        return Storage(0, 0, types.setdefault(key, dtype))

    data = octets.view(0, octets.size)
    noting = outline(vocabulary(octets, _storages(note, budget), budget))
    first = Budget.of_file(octets.size, octets.place)
    magic, at = read_pickle(data, 0, noting, first)
    protocol, at = read_pickle(data, at, noting, first)
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise CheckpointError(
            "a pickle must be one of torch.save", place=octets.place, way_out="save it with torch.save"
        )
    system, tensors_at = read_pickle(data, at, noting, first)
    at = read_pickle(data, tensors_at, noting, first)[1]
    keys, at = read_pickle(data, at, noting, first)
    swapped = type(system) is dict and system.get("little_endian") is False
    places = _legacy_storages(octets, at, [(key, types[key]) for key in keys], swapped)

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        _within(count * dtype.itemsize, places[key].nbytes, octets.place)
        return places[key]

    return read_pickle(data, tensors_at, vocabulary(octets, _storages(storage, budget), budget), budget)[0]


def _legacy_storages(octets: Octets, at: int, keys: list[tuple[str, torch.dtype]], swapped: bool) -> dict[str, Storage]:
    """Where the storages of the old form lie: one after the other, each after its number of elements in 8 bytes."""
    places: dict[str, Storage] = {}
    for key, dtype in keys:
        count = int.from_bytes(octets.bytes(at, at + 8), "big" if swapped else "little", signed=True)
        places[key] = Storage(at + 8, count * dtype.itemsize, dtype, swapped)
        at += 8 + count * dtype.itemsize
        if count < 0 or at > octets.size:
            raise EOFError("a storage ends beyond the file")
    return places


def _storages(find: Callable[[torch.dtype, str, int], Storage], budget: Budget) -> Callable[[Any], Storage]:
    """What a persistent id stands for: ("storage", type, key, device, number of elements), a window of it in old files."""

    def storage(persistent_id: Any) -> Storage:
        budget.spend(_STORAGE)
        kind, dtype, key, _, count, *window = persistent_id
        plain = type(count) is int and 0 <= count < 1 << 63 and type(key) is str and len(key) <= _LONGEST_KEY
        if kind not in ("storage", b"storage") or not isinstance(dtype, torch.dtype) or not plain:
            raise ValueError("a persistent id that is no storage")
        if not window or window[0] is None:
            return find(dtype, key, count)
        _, begin, length = window[0]
        whole = find(dtype, key, count)
        if not (type(begin) is int and type(length) is int and 0 <= begin <= begin + length <= count):
            raise ValueError("a window beyond its storage")
        return replace(whole, begin=whole.begin + begin * dtype.itemsize, nbytes=length * dtype.itemsize)

    return storage


def _within(nbytes: int, available: int, place: str) -> int:
    if nbytes > available:
        raise CheckpointError(
            "a storage must lie within its file", place=place, received=f"{nbytes:,} bytes of {available:,}",
            way_out=CUT_SHORT,
        )  # fmt: skip
    return nbytes


def _check_no_program(members: Mapping[str, zipfile.ZipInfo], place: str) -> None:
    if any(_PROGRAM.search(name) for name in members):
        raise CheckpointError(
            "a checkpoint must hold tensors, not a program", place=place, received="a TorchScript archive",
            way_out="save torch.jit.load(...).state_dict() of it with torch.save",
        )  # fmt: skip

"""Files of torch.save, mapped and unread: the zip form, and the old form from before torch 1.6."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

import torch

from graphsparse.checkpoints.archives.mapped import Archive, MappedFile, Octets
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.archives.pickles import read_pickle
from graphsparse.checkpoints.archives.rebuilding import Storage, outline, vocabulary
from graphsparse.checkpoints.archives.zip_directory import Members
from graphsparse.checkpoints.boundary import check, damaged
from graphsparse.checkpoints.checks import TIMES_A_PICKLE, Budget
from graphsparse.errors import GraphsparseError

_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER
_PROTOCOL = 1001  # torch.serialization.PROTOCOL_VERSION
_LONGEST_KEY = 64
_STORAGE = 200  # bytes that a description of a storage takes
_PICKLE = re.compile(r"^([^/]+)/data\.pkl$")
_PROGRAM = re.compile(r"(^|/)(constants\.pkl|code/)")


def read(file: MappedFile) -> Archive:
    """Returns what torch.save wrote, as nested. Tensors stay unread until they are used.

    Nothing in the file is run, and nothing of torch reads it: see `pickles` and `rebuilding`. Raises where the file is
    damaged, a bomb, or asks for code to be run.
    """
    return Archive(file.place, read_octets(file), {}, file.size, file.release)


def read_octets(octets: Octets) -> Any:
    """Returns what torch.save wrote to these bytes; errors as `read`."""
    budget = Budget.of_file(octets.size, octets.place, TIMES_A_PICKLE)
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
    programs = [name for name in Members.of(octets, stored=False).table if _PROGRAM.search(name)]
    check(not programs, "a checkpoint must hold tensors, not a program", octets.place, "a TorchScript archive",
          "save torch.jit.load(...).state_dict() of it with torch.save")  # fmt: skip
    members = Members.of(octets, stored=True)
    roots = [found[1] for found in map(_PICKLE.match, members.table) if found]
    check(len(roots) == 1, "a torch file must hold one data.pkl", octets.place, len(roots))
    text = octets.view(*members.span(f"{roots[0]}/data.pkl"))
    order = f"{roots[0]}/byteorder"
    swapped = order in members.table and members.bytes(order) == b"big"

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        begin, end = members.span(f"{roots[0]}/data/{key}")
        _check_size(count * dtype.itemsize, end - begin, octets.place)
        return Storage(begin, count * dtype.itemsize, dtype, swapped)

    return read_pickle(text, 0, vocabulary(octets, _storages(storage, budget), budget), budget)[0]


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
    first = Budget.of_file(octets.size, octets.place, TIMES_A_PICKLE)
    magic, at = read_pickle(data, 0, noting, first)
    protocol, at = read_pickle(data, at, noting, first)
    known = (magic, protocol) == (_MAGIC, _PROTOCOL)
    check(known, "a pickle must be one of torch.save", octets.place, way_out="save it with torch.save")
    system, tensors_at = read_pickle(data, at, noting, first)
    at = read_pickle(data, tensors_at, noting, first)[1]
    keys, at = read_pickle(data, at, noting, first)
    swapped = type(system) is dict and system.get("little_endian") is False
    places = _legacy_storages(octets, at, [(key, types[key]) for key in keys], swapped)

    def storage(dtype: torch.dtype, key: str, count: int) -> Storage:
        _check_size(count * dtype.itemsize, places[key].nbytes, octets.place)
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
    """What a persistent id stands for: ("storage", type, key, device, number of elements, in old files a window)."""

    def storage(persistent_id: Any) -> Storage:
        budget.spend(_STORAGE)
        kind, dtype, key, _, count, *window = persistent_id
        plain = type(count) is int and 0 <= count < 1 << 63 and type(key) is str and len(key) <= _LONGEST_KEY
        if kind not in ("storage", b"storage") or not isinstance(dtype, torch.dtype) or not plain:
            raise ValueError("a persistent id that is no storage")
        whole = find(dtype, key, count)
        if not window or window[0] is None:
            return whole
        _, begin, length = window[0]
        if not (type(begin) is int and type(length) is int and 0 <= begin <= begin + length <= count):
            raise ValueError("a window beyond its storage")
        return replace(whole, begin=whole.begin + begin * dtype.itemsize, nbytes=length * dtype.itemsize)

    return storage


def _check_size(nbytes: int, available: int, place: str) -> None:
    check(nbytes <= available, "a storage must lie within its file", place, f"{nbytes:,} bytes of {available:,}")

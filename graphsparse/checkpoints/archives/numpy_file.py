"""Arrays of NumPy: npz archives and single npy files, members read one at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import torch

from graphsparse.checkpoints.archives.mapped import Archive, OpenedFile
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.archives.zip_directory import Members
from graphsparse.checkpoints.boundary import check, damaged, printable
from graphsparse.errors import CheckpointError

_LONGEST_NAME = 65_000  # bytes; a zip archive has two bytes for a length
_RULE = "arrays must read as NumPy wrote them"
_WAY_OUT = "save plain arrays again with numpy.savez"


def read_npz(path: Path) -> Archive:
    """Returns the archive's arrays as tensors by name; as a list where NumPy numbered them (``arr_0``, ...).

    Raises where it is damaged, a bomb, or has an array of Python objects, which only running code could read.
    """
    arrays = {}
    with OpenedFile(path) as file:
        members = Members.of(file, stored=False)
        archive = zipfile.ZipFile(file.stream())
        for name, member in members.table.items():
            opened = partial(archive.open, member)
            arrays[name.removesuffix(".npy")] = _array(opened, member.file_size, members.within(name))
    numbered = [f"arr_{i}" for i in range(len(arrays))]
    content = [arrays[name] for name in numbered] if arrays.keys() == set(numbered) else arrays
    return Archive(str(path), content, {}, file.size)


def read_npy(path: Path) -> Archive:
    """Returns the one array as a list of one tensor."""
    size = path.stat().st_size
    return Archive(str(path), [_array(lambda: path.open("rb"), size, str(path))], {}, size)


def write_npz(file: BinaryIO, tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> None:
    """Writes the tensors as arrays, one in memory at a time; types that NumPy lacks become float32."""
    for name in tensors:  # readers end a name at a zero byte
        length = len(name.encode("utf-8", "surrogatepass"))
        text = "\0" not in name and not any("\ud800" <= letter <= "\udfff" for letter in name)
        rule = f"names in an npz must be text of at most {_LONGEST_NAME:,} bytes, without a zero byte"
        way_out = "rename the parameter, or write bits or openlth"
        check(text and length <= _LONGEST_NAME, rule, printable(name), f"{length:,} bytes", way_out)
    with zipfile.ZipFile(file, "w") as archive:
        for name, pending in tensors.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its fixed date makes equal content equal bytes
            with archive.open(member, "w", force_zip64=True) as target:
                np.lib.format.write_array(target, to_array(pending.tensor()), allow_pickle=False)


def to_tensor(array: np.ndarray, place: str) -> torch.Tensor:
    """Returns the array as a tensor of the same values and type, in this machine's byte order."""
    number = array.dtype.kind in "biufc" and array.dtype.itemsize <= 16 and array.dtype != np.longdouble
    check(number, "arrays must hold numbers", place, str(array.dtype)[:60], _WAY_OUT)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.ascontiguousarray(native).reshape(array.shape))


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """Returns the tensor as an array. What NumPy lacks becomes a type of the same values: bfloat16 and float8 become
    float32, complex32 becomes complex64."""
    if tensor.dtype == torch.complex32:
        tensor = tensor.to(torch.complex64)
    if tensor.dtype == torch.bfloat16 or (tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1):
        tensor = tensor.float()
    return tensor.contiguous().numpy()


def _array(opened: Callable[[], IO[bytes]], size: int, place: str) -> torch.Tensor:
    try:
        with opened() as file:
            _check_header(file, size, place)
            file.seek(0)
            array = np.load(file, allow_pickle=False)
    except CheckpointError:
        raise
    except Exception as error:  # a stranger's bytes make zipfile, numpy and zlib raise anything
        raise damaged(_RULE, place, error) from error
    return to_tensor(array, place)


def _check_header(file: IO[bytes], size: int, place: str) -> None:
    """Raises unless the array that the header describes has as many bytes as there are: before room is made for it."""
    version = np.lib.format.read_magic(file)
    known = version in ((1, 0), (2, 0))
    check(known, "an array must be of format 1.0 or 2.0", place, version, _WAY_OUT)
    one, two = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
    shape, _, dtype = (one if version == (1, 0) else two)(file)
    rule = "a checkpoint must be readable without code execution"
    check(not dtype.hasobject, rule, place, "an array of Python objects", "where you trust it, " + _WAY_OUT)
    left = size - file.tell()
    whole = min(shape, default=0) >= 0 and prod(shape) * dtype.itemsize == left
    check(whole, "an array must have as many bytes as its shape asks for", place,
          f"{dtype} {str(shape)[:60]} in {left} bytes", _WAY_OUT)  # fmt: skip

"""Arrays of NumPy: npz archives and single npy files, members read one at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.archives.zip_directory import read_directory
from graphsparse.checkpoints.boundary import damaged, printable
from graphsparse.errors import CheckpointError

_LONGEST_NAME = 65_000  # bytes; a zip archive has two bytes for a length
_RULE = "arrays must read as NumPy wrote them"
_WAY_OUT = "save plain arrays again with numpy.savez"


def read_npz(path: Path) -> Archive:
    """Returns the archive's arrays as tensors by name; as a list where NumPy numbered them (``arr_0``, ...).

    Raises:
        CheckpointError: damaged, a bomb, or an array of Python objects, which only running code could read.
    """
    members = read_directory(path, stored=False)
    with zipfile.ZipFile(path) as archive:
        arrays = {}
        for name, member in members.items():
            place = f"{name} in {path}"
            with _opened(archive, member, place) as file:
                arrays[name.removesuffix(".npy")] = _array(file, member.file_size, place)
    numbered = [f"arr_{i}" for i in range(len(arrays))]
    content = [arrays[name] for name in numbered] if arrays.keys() == set(numbered) else arrays
    return Archive(str(path), content, {}, path.stat().st_size)


def read_npy(path: Path) -> Archive:
    """Returns the one array as a list of one tensor."""
    size = path.stat().st_size
    with path.open("rb") as file:
        return Archive(str(path), [_array(file, size, str(path))], {}, size)


def write_npz(file: BinaryIO, tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> None:
    """Writes the tensors as arrays, one in memory at a time; types that NumPy lacks become float32."""
    for name in tensors:
        _check_name(name)
    with zipfile.ZipFile(file, "w") as archive:
        for name, pending in tensors.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # its fixed date makes equal content equal bytes
            with archive.open(member, "w", force_zip64=True) as target:
                np.lib.format.write_array(target, to_array(pending.tensor()), allow_pickle=False)


def to_tensor(array: np.ndarray, place: str) -> torch.Tensor:
    """Returns the array as a tensor of the same values and type, in this machine's byte order."""
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > 16 or array.dtype == np.longdouble:
        raise CheckpointError("arrays must hold numbers", place=place, received=str(array.dtype)[:60], way_out=_WAY_OUT)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.ascontiguousarray(native).reshape(array.shape))


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """Returns the tensor as an array; bfloat16, float8 and complex32, which NumPy lacks, become
    float32 and complex64 of the same values."""
    if tensor.dtype == torch.complex32:
        tensor = tensor.to(torch.complex64)
    if tensor.dtype == torch.bfloat16 or (tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1):
        tensor = tensor.float()
    return tensor.contiguous().numpy()


def _check_name(name: str) -> None:
    """Raises where a zip archive has no place for a name: its readers end it at a zero byte."""
    length = len(name.encode("utf-8", "surrogatepass"))
    if "\0" in name or length > _LONGEST_NAME or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise CheckpointError(
            f"names in an npz must be text of at most {_LONGEST_NAME:,} bytes, without a zero byte", place=printable(name),
            received=f"{length:,} bytes", way_out="rename the parameter, or write bits or openlth",
        )  # fmt: skip


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except Exception as error:  # a stranger's bytes make zipfile raise anything
        raise damaged(_RULE, place, error) from error


def _array(file: Any, size: int, place: str) -> torch.Tensor:
    try:
        _check_header(file, size, place)
        file.seek(0)
        array = np.load(file, allow_pickle=False)
    except CheckpointError:
        raise
    except Exception as error:  # a stranger's bytes make numpy and zlib raise anything
        raise damaged(_RULE, place, error) from error
    return to_tensor(array, place)


def _check_header(file: Any, size: int, place: str) -> None:
    """Raises unless the array that the header describes has as many bytes as there are: before room is made for it."""
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        raise CheckpointError("an array must be of format 1.0 or 2.0", place=place, received=version, way_out=_WAY_OUT)
    shape, _, dtype = reader(file)
    if dtype.hasobject:
        raise CheckpointError(
            "a checkpoint must be readable without code execution", place=place,
            received="an array of Python objects", way_out="where you trust it, " + _WAY_OUT,
        )  # fmt: skip
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != size - file.tell():
        raise CheckpointError(
            "an array must have as many bytes as its shape asks for", place=place,
            received=f"{dtype} {str(shape)[:60]} in {size - file.tell()} bytes", way_out=_WAY_OUT,
        )  # fmt: skip

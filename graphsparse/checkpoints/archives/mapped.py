"""A file in memory without reading it: tensors are windows on a memory map, whose pages are given back after use."""

from __future__ import annotations

import io
import mmap
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch

from graphsparse.checkpoints.boundary import reason
from graphsparse.errors import CheckpointError


class Octets:
    """Bytes in memory that tensors are windows on. They live as long as a tensor of them.

    Attributes:
        place: where they are from, for messages.
        size: how many there are.
    """

    def __init__(self, buffer: mmap.mmap | bytearray, size: int, place: str):
        self._buffer, self.size, self.place = buffer, size, place

    def bytes(self, begin: int, end: int) -> bytes:
        """A copy of some of the bytes."""
        return bytes(self._buffer[begin:end])

    def view(self, begin: int, end: int) -> memoryview:
        """Some of the bytes, where they lie."""
        return memoryview(self._buffer)[begin:end]

    def stream(self) -> BinaryIO:
        """The bytes as an open file: nothing opens the path again."""
        return io.BufferedReader(_Stream(self))

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...], begin: int) -> torch.Tensor:
        """The tensor that lies at a byte offset, unread. The caller has checked that it ends within the bytes."""
        elements = prod(shape)
        if elements == 0:
            return torch.empty(shape, dtype=dtype)
        if begin % dtype.itemsize:  # elements must lie at multiples of their size: copy these
            raw = bytearray(self.bytes(begin, begin + elements * dtype.itemsize))
            return torch.frombuffer(raw, dtype=dtype, count=elements).reshape(shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable.*")
            return torch.frombuffer(self._buffer, dtype=dtype, count=elements, offset=begin).reshape(shape)


class _Stream(io.RawIOBase):
    """A place in bytes."""

    def __init__(self, octets: Octets):
        self._octets, self._at = octets, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._octets.size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the first byte")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._octets.bytes(self._at, min(self._at + len(buffer), self._octets.size))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


class OpenedFile(Octets):
    """One file that is read where it is asked for, without a map. If it is cut short meanwhile, its bytes end earlier.

    Tensors are not windows on it. A map has no such end: the system kills a process that reads beyond it.
    """

    def __init__(self, path: Path):
        try:
            self._file = path.open("rb")
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        super().__init__(bytearray(), os.fstat(self._file.fileno()).st_size, str(path))

    def __enter__(self) -> OpenedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def bytes(self, begin: int, end: int) -> bytes:
        self._file.seek(begin)
        return self._file.read(end - begin)


class MappedFile(Octets):
    """One read-only file, mapped whole. It stays mapped as long as a tensor of it lives."""

    def __init__(self, path: Path):
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                buffer = _map(file.fileno()) if size else bytearray()
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        super().__init__(buffer, size, str(path))
        self.path = path
        self._address = super().tensor(torch.uint8, (1,), 0).data_ptr() if size else 0

    def release(self, tensor: torch.Tensor) -> None:
        """Gives back the pages of memory that lie wholly in the tensor. They are read again when used."""
        if tensor.layout != torch.strided or not tensor.numel() or not hasattr(mmap, "MADV_DONTNEED"):
            return
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        begin = tensor.data_ptr() - self._address
        end = begin + (1 + sum((size - 1) * step for size, step in steps)) * tensor.element_size()
        first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if isinstance(self._buffer, mmap.mmap) and begin >= 0 and end <= self.size and last > first:
            self._buffer.madvise(mmap.MADV_DONTNEED, first, last - first)


def unreadable(path: object, error: Exception) -> CheckpointError:
    """The error for a path that the system does not open or read."""
    rule = "a checkpoint must be readable"
    return CheckpointError(rule, place=str(path), received=reason(error), way_out="check the path")


def _map(descriptor: int) -> mmap.mmap:
    # Copy-on-write, since a user may change a tensor that we return: a shared map would crash. A system may refuse a
    # private map that is larger than its memory; then the map is read-only.
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    except OSError:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


@dataclass(frozen=True, eq=False)
class Archive:
    """A file's tensors, mapped and not yet read, as the file nests them.

    Attributes:
        place: the file, for messages.
        content: a mapping or list of tensors, as nested in the file.
        metadata: text that the file carries beside its tensors.
        file_bytes: size of the file or files on disk; None for content that came from no file.
        release: gives a tensor's pages of memory back to the system; the tensor stays valid.
        check_sums: reads all of the file and compares its check sums, where it has some that are not compared yet.
    """

    place: str
    content: Any
    metadata: Mapping[str, str] = field(default_factory=dict)
    file_bytes: int | None = None
    release: Callable[[Any], None] = lambda _: None
    check_sums: Callable[[], None] = lambda: None

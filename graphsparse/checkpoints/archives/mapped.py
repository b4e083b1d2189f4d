"""A file in memory without reading it: tensors as windows on a memory map, pages given back when done with."""

from __future__ import annotations

import io
import mmap
import os
import warnings
from math import prod
from pathlib import Path
from typing import Any

import torch

from graphsparse.errors import CheckpointError


class MappedFile:
    """One read-only file, mapped whole; it stays mapped as long as a tensor of it lives.

    The one object here that is not a plain value: it owns the map.
    """

    def __init__(self, path: Path):
        try:
            with path.open("rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                self._map = _map(file.fileno()) if self.size else None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CheckpointError("a checkpoint can be read", place=str(path), received=reason) from error
        self.path = path
        self._spans: dict[int, tuple[int, int]] = {}

    def bytes(self, begin: int, end: int) -> bytes:
        return b"" if self._map is None else self._map[begin:end]

    def stream(self) -> io.RawIOBase:
        """The bytes of the map as a file, so that nothing has to open the path again."""
        return _Stream(self)

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...], begin: int) -> torch.Tensor:
        """The tensor that lies at a byte offset, unread; the caller has checked that it ends within the file."""
        elements = prod(shape)
        if elements == 0:
            return torch.empty(shape, dtype=dtype)
        if begin % dtype.itemsize:  # a few instructions want whole elements at whole addresses: copy these
            raw = bytearray(self.bytes(begin, begin + elements * dtype.itemsize))
            return torch.frombuffer(raw, dtype=dtype, count=elements).reshape(shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable.*")
            tensor = torch.frombuffer(self._map, dtype=dtype, count=elements, offset=begin)
        self._spans[tensor.data_ptr()] = (begin, elements * dtype.itemsize)
        return tensor.reshape(shape)

    def release(self, tensor: torch.Tensor) -> None:
        """Gives the pages that lie wholly in the tensor back; if it is looked at again, they are read again."""
        begin, length = self._spans.get(tensor.data_ptr(), (0, 0))
        first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (begin + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None and last > first and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


class _Stream(io.RawIOBase):
    """A mapped file, read from the place where it stands."""

    def __init__(self, file: MappedFile):
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence] + offset
        if self._at < 0:
            raise OSError("a place before the file's first byte")
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._file.bytes(self._at, self._at + len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _map(descriptor: int) -> mmap.mmap:
    # Copy-on-write lets a user change a tensor that we hand out; shared would crash. But a system may refuse a
    # private map that is larger than its memory: then read-only it is.
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    except OSError:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)

"""A file in memory without reading it: tensors as windows on a memory map, pages given back when done with."""

from __future__ import annotations

import io
import mmap
import os
import warnings
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch

from graphsparse.errors import CheckpointError


class Octets:
    """Bytes in memory that tensors are windows on; they live as long as a tensor of them.

    Attributes:
        place: where they are from, for messages.
        size: how many there are.
    """

    def __init__(self, buffer: mmap.mmap | bytearray | None, size: int, place: str):
        self._buffer, self.size, self.place = buffer, size, place

    def bytes(self, begin: int, end: int) -> bytes:
        return b"" if self._buffer is None else bytes(self._buffer[begin:end])

    def view(self, begin: int, end: int) -> memoryview:
        """The same bytes as ``bytes``, where they lie."""
        return memoryview(b"" if self._buffer is None else self._buffer)[begin:end]

    def stream(self) -> BinaryIO:
        """The bytes as an open file, so that nothing has to open the path again."""
        return io.BufferedReader(_Stream(self))

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...], begin: int) -> torch.Tensor:
        """The tensor that lies at a byte offset, unread; the caller has checked that it ends within the bytes."""
        elements = prod(shape)
        if elements == 0:
            return torch.empty(shape, dtype=dtype)
        if begin % dtype.itemsize:  # a few instructions want whole elements at whole addresses: copy these
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


class MappedFile(Octets):
    """One read-only file, mapped whole; it stays mapped as long as a tensor of it lives.

    The one object here that is not a plain value: it owns the map.
    """

    def __init__(self, path: Path):
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._map = _map(file.fileno()) if size else None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CheckpointError("a checkpoint must be readable", place=str(path), received=reason) from error
        super().__init__(self._map, size, str(path))
        self.path = path
        self._address = super().tensor(torch.uint8, (1,), 0).data_ptr() if size else 0

    def release(self, tensor: torch.Tensor) -> None:
        """Gives the pages that lie wholly in the tensor back; if it is looked at again, they are read again."""
        if tensor.layout != torch.strided or not tensor.numel() or not hasattr(mmap, "MADV_DONTNEED"):
            return
        steps = zip(tensor.shape, tensor.stride(), strict=True)
        begin = tensor.data_ptr() - self._address
        end = begin + (1 + sum((size - 1) * step for size, step in steps)) * tensor.element_size()
        first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None and begin >= 0 and end <= self.size and last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


def _map(descriptor: int) -> mmap.mmap:
    # Copy-on-write lets a user change a tensor that we hand out; shared would crash. But a system may refuse a
    # private map that is larger than its memory: then read-only it is.
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    except OSError:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)

"""Safetensors: eight bytes of length, a JSON header, the tensors end to end.

It is read and written here, not by its library, for three reasons. A name that the header gives twice is seen. Pages
are given back tensor by tensor, so a checkpoint may be larger than memory. A tensor is written without the others in
memory. The tests compare both directions with the library.
Source: the format's own description, github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from typing import Any, BinaryIO

import torch

from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import Archive, MappedFile
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.checks import TENSOR, TIMES_A_HEADER, Budget, naturals

_LARGEST_HEADER = 100_000_000  # bytes; the library's own limit
_METADATA = "__metadata__"

_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "U16": torch.uint16,
    "I32": torch.int32, "U32": torch.uint32, "I64": torch.int64, "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
    "C64": torch.complex64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_Span = tuple[torch.dtype, tuple[int, ...], int, int]  # dtype, shape, first byte, last byte; bytes after the header


def read(file: MappedFile) -> Archive:
    """Returns the file's tensors, mapped and unread.

    Raises where the header is larger than the file, no JSON, names a tensor twice, or does not account for each byte of
    the file exactly once.
    """
    budget = Budget.of_file(file.size, file.place, TIMES_A_HEADER)
    start, header = _header(file, budget)
    budget.spend(TENSOR * len(header))
    metadata = header.pop(_METADATA, {})
    texts = isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())
    check(texts, f"{_METADATA} must map text to text", file.place)
    spans = {name: _span(info, f"{name} in {file.place}") for name, info in header.items()}
    _check_layout(spans, file.size - start, file.place)
    tensors = {name: file.tensor(dtype, shape, start + begin) for name, (dtype, shape, begin, _) in spans.items()}
    return Archive(file.place, tensors, metadata, file.size, file.release)


def write(file: BinaryIO, tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> None:
    """Writes the tensors, one in memory at a time. A padded header lets elements lie at multiples of their size."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    offset = 0
    check(_METADATA not in tensors, "a tensor must have another name in safetensors", None, _METADATA, "rename it")
    for name, pending in ordered:
        check(pending.dtype in _NAMES, "safetensors must hold the usual types", name, pending.dtype, way_out=None)
        span = [offset, offset + pending.nbytes]
        header[name] = {"dtype": _NAMES[pending.dtype], "shape": list(pending.shape), "data_offsets": span}
        offset = span[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    rule, way_out = f"a header must have at most {_LARGEST_HEADER:,} bytes", "shorten the names, or write another form"
    check(len(text) <= _LARGEST_HEADER, rule, None, f"{len(text):,}", way_out)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, pending in ordered:
        file.write(pending.octets())


def _header(file: MappedFile, budget: Budget) -> tuple[int, dict[str, Any]]:
    """Where the tensors begin, and the header."""
    head, room = file.bytes(0, 8), file.size - 8
    rule = "a safetensors file must begin with the 8 bytes of its header's length"
    check(len(head) == 8, rule, file.place, f"a file of {file.size} bytes")
    length, swapped = struct.unpack("<Q", head)[0], struct.unpack(">Q", head)[0]
    received = f"a header of {length:,} bytes in a file of {file.size:,}"
    turned = f"; read from the other end the length would be {swapped:,}" if swapped <= room else ""
    rule = "a header must fit in its file, its length written little end first"
    check(length <= min(room, _LARGEST_HEADER), rule, file.place, received + turned)
    return 8 + length, read_object(file.bytes(8, 8 + length), file.place, budget)


def _span(info: Any, place: str) -> _Span:
    """What one entry of the header says."""
    complete = isinstance(info, dict) and {"dtype", "shape", "data_offsets"} <= info.keys()
    check(complete, "a tensor must have a dtype, a shape and data_offsets", place)
    name, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    known = isinstance(name, str) and name in _DTYPES
    check(known, "a tensor's dtype must be one that torch has", place, str(name)[:40], way_out=None)
    whole = naturals(shape) and naturals(offsets) and len(offsets) == 2
    received = f"shape {str(shape)[:60]}, offsets {str(offsets)[:60]}"
    check(whole, "shapes and offsets must be whole numbers from 0 to 2^63", place, received)
    dtype, (begin, end) = _DTYPES[name], offsets
    fits = len(shape) <= 64 and prod(shape) * dtype.itemsize == end - begin
    check(fits, "a tensor must have as many bytes as its shape asks for", place, f"{name}, {received}")
    return dtype, tuple(shape), begin, end


def _check_layout(spans: Mapping[str, _Span], size: int, place: str) -> None:
    """Raises unless every byte after the header belongs to exactly one tensor."""
    reached = 0
    for begin, end, name in sorted((begin, end, name) for name, (_, _, begin, end) in spans.items()):
        received = f"bytes {begin:,} to {end:,}, after {reached:,} of {size:,}"
        whole = begin == reached and end <= size
        check(whole, "tensors must lie end to end, within the file", f"{name} in {place}", received)
        reached = end
    check(reached == size, "the header must account for the whole file", place, f"{reached:,} of {size:,} bytes")

"""Safetensors: eight bytes of length, a JSON header, the tensors end to end.

The format is short, and reading it here rather than through its library is what makes three things possible: a name
that the header gives twice is seen, pages are given back tensor by tensor (so a checkpoint may be larger than memory),
and a tensor is written without the others being in memory. The tests hold both directions against the library.
Source: the format's own description, github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.budget import TENSOR, Budget
from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.checkpoints.archives.pending import Pending
from graphsparse.checkpoints.checks import naturals
from graphsparse.errors import CheckpointError

_LARGEST_HEADER = 100_000_000  # the library's own limit
_ANY_HEADER = 1 << 23  # bytes; a larger one takes less than half of its file
_WAY_OUT = "download or save the file again"

_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "U16": torch.uint16,
    "I32": torch.int32, "U32": torch.uint32, "I64": torch.int64, "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
    "C64": torch.complex64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def read(path: Path) -> Archive:
    """Returns the file's tensors, mapped and unread.

    Raises:
        CheckpointError: the header is larger than the file, no JSON, names a tensor twice, or does not account for
            the file's bytes exactly once each.
    """
    file = MappedFile(path)
    budget = Budget.of_file(file.size, str(path))
    start, header = _header(file, budget)
    budget.spend(TENSOR * len(header))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise CheckpointError("__metadata__ must map text to text", place=str(path), way_out=_WAY_OUT)
    spans = {name: _span(info, f"{name} in {path}") for name, info in header.items()}
    _check_layout(spans, file.size - start, str(path))
    tensors = {name: file.tensor(dtype, shape, start + begin) for name, (dtype, shape, begin, _) in spans.items()}
    return Archive(str(path), tensors, metadata, file.size, file.release)


def write(file: BinaryIO, tensors: Mapping[str, Pending], metadata: Mapping[str, str]) -> None:
    """Writes the tensors, one in memory at a time, and pads the header so that they lie at whole addresses."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, pending in ordered:
        if pending.dtype not in _NAMES:
            raise CheckpointError("safetensors must hold the usual types", place=name, received=pending.dtype)
        span = [offset, offset + pending.nbytes]
        header[name] = {"dtype": _NAMES[pending.dtype], "shape": list(pending.shape), "data_offsets": span}
        offset = span[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, pending in ordered:
        file.write(pending.octets())


def _header(file: MappedFile, budget: Budget) -> tuple[int, dict[str, Any]]:
    """Where the tensors begin, and the header."""
    place, head = str(file.path), file.bytes(0, 8)
    if len(head) < 8:
        raise CheckpointError(
            "a safetensors file must begin with the 8 bytes of its header's length",
            place=place, received=f"a file of {file.size} bytes", way_out=_WAY_OUT,
        )  # fmt: skip
    length, swapped = struct.unpack("<Q", head)[0], struct.unpack(">Q", head)[0]
    if length > min(file.size - 8, _LARGEST_HEADER):
        turned = f"; read from the other end the length would be {swapped:,}" if swapped <= file.size - 8 else ""
        raise CheckpointError(
            "a header must fit in its file, its length written little end first",
            place=place, received=f"a header of {length:,} bytes in a file of {file.size:,}{turned}", way_out=_WAY_OUT,
        )  # fmt: skip
    if length > max(_ANY_HEADER, file.size // 2):
        raise CheckpointError(
            "a header must be a small part of its file", place=place,
            received=f"a header of {length:,} bytes in a file of {file.size:,}", way_out=_WAY_OUT,
        )  # fmt: skip
    return 8 + length, read_object(file.bytes(8, 8 + length), place, budget)


def _span(info: Any, place: str) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """(dtype, shape, first byte, last byte) of one entry of the header."""
    if not isinstance(info, dict) or not {"dtype", "shape", "data_offsets"} <= info.keys():
        raise CheckpointError("a tensor must have a dtype, a shape and data_offsets", place=place, way_out=_WAY_OUT)
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise CheckpointError("a tensor's dtype must be one that torch has", place=place, received=str(dtype)[:40])
    if not naturals(shape) or not naturals(offsets) or len(offsets) != 2:
        raise CheckpointError(
            "shapes and offsets must be whole numbers from 0 to 2^63", place=place,
            received=f"shape {str(shape)[:60]}, offsets {str(offsets)[:60]}", way_out=_WAY_OUT,
        )  # fmt: skip
    begin, end = offsets
    if prod(shape) * _DTYPES[dtype].itemsize != end - begin or len(shape) > 64:
        raise CheckpointError(
            "a tensor must have as many bytes as its shape asks for", place=place,
            received=f"{dtype} {tuple(shape)} in {end - begin} bytes", way_out=_WAY_OUT,
        )  # fmt: skip
    return _DTYPES[dtype], tuple(shape), begin, end


def _check_layout(spans: Mapping[str, tuple[torch.dtype, tuple[int, ...], int, int]], size: int, place: str) -> None:
    """Raises unless every byte after the header belongs to exactly one tensor."""
    reached = 0
    for begin, end, name in sorted((begin, end, name) for name, (_, _, begin, end) in spans.items()):
        if begin != reached or end > size:
            raise CheckpointError(
                "tensors must lie end to end, within the file", place=f"{name} in {place}",
                received=f"bytes {begin:,} to {end:,}, after {reached:,} of {size:,}", way_out=_WAY_OUT,
            )  # fmt: skip
        reached = end
    if reached != size:
        raise CheckpointError(
            "the header must account for the whole file", place=place, received=f"{reached:,} of {size:,} bytes",
            way_out=_WAY_OUT,
        )  # fmt: skip

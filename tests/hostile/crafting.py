"""Files that attack readers, made from their description: pickles opcode by opcode, zips and headers byte by byte."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np

HEAD, STOP = b"\x80\x02", b"."
LEGACY = HEAD + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + HEAD + b"M\xe9\x03." + HEAD + b"}."  # magic, protocol, system


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def sequence(items: Iterable[bytes]) -> bytes:
    return b"](" + b"".join(items) + b"e"


def table(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in entries) + b"u"


def named(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def call(name: str, *arguments: bytes) -> bytes:
    return named(name) + group(*arguments) + b"R"


def new(name: str, *arguments: bytes) -> bytes:
    return named(name) + group(*arguments) + b"\x81"


def storage(count: int, *, key: str = "0", kind: str = "Float", window: bytes = b"") -> bytes:
    return group(text("storage"), named(f"torch.{kind}Storage"), text(key), text("cpu"), number(count), window) + b"Q"


def tensor(
    size: Iterable[int], stride: Iterable[int], *, count: int = 1, offset: int = 0, kind: str = "Float", key: str = "0"
) -> bytes:
    sizes, strides = (group(*map(number, values)) for values in (size, stride))
    return call(
        "torch._utils._rebuild_tensor_v2", storage(count, kind=kind, key=key), number(offset), sizes, strides,
        b"\x89", call("collections.OrderedDict"),
    )  # fmt: skip


def state(entries: Mapping[str, bytes]) -> bytes:
    return table((text(name), value) for name, value in entries.items())


def torch_zip(content: bytes, storages: Mapping[str, bytes] | None = None, *, compressed: bool = False) -> bytes:
    """A torch file around the opcodes of its pickle; one storage of a float 1 where none is given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", HEAD + content + STOP)
        for key, data in ({"0": struct.pack("<f", 1.0)} if storages is None else storages).items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def legacy(content: bytes, keys: Iterable[str] = (), storages: Iterable[tuple[int, bytes]] = ()) -> bytes:
    """A file of torch.save from before 1.6: pickles, the keys of the storages, and the storages."""
    listed = HEAD + sequence(map(text, keys)) + STOP
    data = b"".join(struct.pack("<q", count) + raw for count, raw in storages)
    return LEGACY + HEAD + content + STOP + listed + data


def safetensors(header: Mapping[str, object] | bytes, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def floats(names: Iterable[str]) -> bytes:
    """A safetensors file with a kernel of 2 x 2 ones under each name."""
    listed = list(names)
    header = {name: entry("F32", [2, 2], 16 * place, 16 * place + 16) for place, name in enumerate(listed)}
    return safetensors(header, np.ones(4 * len(listed), np.float32).tobytes())


def bits(shape: list[int], octets: bytes, *, kept: int, crc: int) -> bytes:
    about = {"a.weight": {"shape": shape, "kept": kept, "crc32": crc}}
    mark = {"format": "graphsparse-masks", "masks": json.dumps(about)}
    return safetensors({"__metadata__": mark, "a.weight": entry("U8", [len(octets)], 0, len(octets))}, octets)


def npz(arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def npy(description: str, data: bytes = b"") -> bytes:
    """An array file whose header says this after ``descr``."""
    header = f"{{'descr': {description}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def two_directories(outer: bytes, inner: bytes) -> bytes:
    """A file that is one archive for a reader of absolute offsets, and another for one that allows a prefix."""
    end = len(inner) - 22
    length, offset = struct.unpack("<II", inner[end + 12 : end + 20])
    record = inner[end : end + 16] + struct.pack("<I", offset) + inner[end + 20 :]
    padding = bytes(max(0, offset + length - len(outer)))
    return outer + padding + inner[:end] + record

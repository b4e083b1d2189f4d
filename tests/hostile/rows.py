"""Checkpoint files that attack, one function a kind: each yields (name, bytes, what must become of it).

What must become of it: a word of the one line that refuses it; or a number, the kept connections of a right answer.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
import torch

from tests.hostile import crafting as c

Row = tuple[str, bytes, str | int]
MEGABYTE = 1 << 20


def memory() -> Iterator[Row]:
    """Tensors of a given size, which nothing in the file fills."""
    size = c.number(1), c.number(64)
    for name in ("torch.Tensor", "torch.FloatTensor", "torch.nn.parameter.Parameter", "torch.FloatStorage"):
        for make, asked in ((c.call, "call"), (c.new, "new")):
            yield f"{asked}-{name}.pt", c.torch_zip(c.state({"a.weight": make(name, *size)})), "code execution"
            yield f"old-{asked}-{name}.pt", c.legacy(c.state({"a.weight": make(name, *size)})), "code execution"
    whole = c.state({"a.weight": c.tensor([64, 64], [64, 1], count=4096)})
    yield "old-no-keys.pt", c.legacy(whole), "as torch.save wrote it"
    yield "old-short.pt", c.legacy(whole, ["0"], [(64, bytes(256))]), "within its file"
    yield "old-negative.pt", c.legacy(whole, ["0"], [(-1, b"")]), "as torch.save wrote it"
    yield "short.pt", c.torch_zip(whole, {"0": bytes(64)}), "within its file"
    yield (
        "beyond.pt",
        c.torch_zip(c.state({"a.weight": c.tensor([4], [1], count=4, offset=1)}), {"0": bytes(16)}),
        "within its",
    )
    yield (
        "negative.pt",
        c.torch_zip(c.state({"a.weight": c.tensor([4], [-1], count=4, offset=3)}), {"0": bytes(16)}),
        "whole",
    )


def unpickled() -> Iterator[Row]:
    """Small pickles that cost much while they are read."""
    doubled = c.group(c.number(1))
    doubled += b"q\x00" + b"".join(b"h" + bytes([depth]) + b"\x86q" + bytes([depth + 1]) for depth in range(40))
    yield "hash.pt", c.torch_zip(b"}" + doubled + b"Ns"), "keys must be names or numbers"
    yield "bytearray.pt", c.torch_zip(c.call("builtins.bytearray", c.number(3 * 10**9))), "as torch.save wrote it"
    grown = c.text("ab" * 20)
    for _ in range(25):
        grown = c.call("_codecs.encode", grown, c.text("hex"))
    yield "encode.pt", c.torch_zip(grown), "as torch.save wrote it"
    same = (1 << 61) - 1
    collide = c.table((c.number(same * step), b"N") for step in range(1, 60_000))
    yield "collide.pt", c.torch_zip(collide), "keys must be names or numbers"
    equal = b"]" + c.text("a" * MEGABYTE) + b"q\x00a" + c.text("a" * MEGABYTE) + b"q\x01a"
    yield "equal.pt", c.torch_zip(equal + b"}(h\x00N" + b"h\x01N" * 300_000 + b"u"), "names must be short"
    long = b"]" + c.text("a" * 4000) + b"q\x00a"
    named = c.table((c.group(*[b"h\x00"] * 15, c.number(key)), b"N") for key in range(4096))
    attributes = c.new("argparse.Namespace") + named + b"q\x01b" + b"h\x01b" * 5
    yield "attributes.pt", c.torch_zip(long + attributes), "as torch.save wrote it"
    many = c.table((c.text(str(key)), b"N") for key in range(50_000))
    built = c.new("argparse.Namespace") + many + b"q\x01b" + b"h\x01b" * 50_000
    yield "build.pt", c.torch_zip(built), "bear out its size"
    yield "lists.pt", c.torch_zip(b"]" * (4 * MEGABYTE) + b"0" * 10), "bear out its size"
    yield "texts.pt", c.torch_zip(c.sequence([b"\x8c\x01a"] * (2 * MEGABYTE))), "bear out its size"
    yield "deep.pt", c.torch_zip(b"]" * 300_000 + b"a" * 299_999), "tensors by name"
    yield "cycle.pt", c.torch_zip(b"]q\x00(" + b"h\x00" * 50 + b"e"), "tensors by name"
    yield "memo.pt", c.torch_zip(b"]r\xff\xff\xff\xff"), "bear out its size"
    tensors = c.tensor([1], [1]) + b"q\x00"
    args = c.named("torch._utils._rebuild_tensor_v2") + b"q\x01" + tensors
    again = (
        b"h\x01("
        + c.storage(1)
        + b"q\x02"
        + c.number(0)
        + c.group(c.number(1))
        + c.group(c.number(1))
        + b"\x89}tq\x03R"
    )
    yield "tensors.pt", c.torch_zip(c.sequence([args, again] + [b"h\x01h\x03R"] * 400_000)), "bear out its size"
    yield "message.pt", c.torch_zip(c.named("x" * 25_000_000 + ".y")), "as torch.save wrote it"
    yield "message2.pt", c.torch_zip(c.state({"a" * 25_000_000: c.tensor([4], [1], offset=9)})), "within its storage"
    yield "message3.pt", c.torch_zip(c.table([(c.text("b" * 10_000_000), c.number(1))])), "names must be short"


def expanded() -> Iterator[Row]:
    """Tensors of many elements on few bytes."""
    for kind in ("Float", "Byte", "Bool"):
        line = c.tensor([2 * 10**9], [0], kind=kind)
        for name in ("a.weight", "a.bias", "a"):
            yield f"line-{kind}-{name}.pt", c.torch_zip(c.state({name: line})), "bear out its size"
        yield f"nni-{kind}.pt", c.torch_zip(c.state({"fc": c.state({"weight": line})})), "bear out its size"
        yield f"old-line-{kind}.pt", c.legacy(c.state({"a": line}), ["0"], [(1, bytes(4))]), "bear out its size"
    quantiser = c.group(c.named("torch.per_tensor_affine"), b"G" + struct.pack(">d", 1.0), c.number(0))
    sizes, strides = c.group(c.number(40_000), c.number(10_000)), c.group(c.number(0), c.number(0))
    parts = c.storage(1, kind="QInt8"), c.number(0), sizes, strides, quantiser, b"\x89", b"}"
    yield (
        "quantised.pt",
        c.torch_zip(c.state({"a.weight": c.call("torch._utils._rebuild_qtensor", *parts)})),
        "bear out",
    )
    many = {f"layer{i}.weight": c.tensor([4000, 4000], [0, 0], kind="Bool") for i in range(400)}
    yield "many.pt", c.torch_zip(c.state(many)), "bear out its size"
    whole = {f"layer{i}.weight": c.tensor([MEGABYTE], [1], count=MEGABYTE, kind="Bool") for i in range(400)}
    yield "aliases.pt", c.torch_zip(c.state(whole), {"0": b"\1" * MEGABYTE}), "bear out its size"
    overlap = c.tensor([4096, 65_536], [1, 1], count=70_000, kind="Byte")
    yield "overlap.pt", c.torch_zip(c.state({"a.weight": overlap}), {"0": b"\1" * 70_000}), "bear out its size"
    axes = c.tensor([1] * 70, [1] * 70)
    yield "axes.pt", c.torch_zip(c.state({"a.weight": axes})), "at most 64 axes"
    yield "empty.pt", c.torch_zip(c.state({"a.weight": c.tensor([1 << 62, 4, 0], [1, 1, 1])})), "a"
    shape = c.group(c.number(MEGABYTE), c.number(MEGABYTE))
    indices = c.tensor([2, 1], [1, 1], count=2, kind="Long")
    coo = c.call("torch.serialization._get_layout", c.text("torch.sparse_coo"))
    sparse = c.call("torch._utils._rebuild_sparse_tensor", coo, c.group(indices, c.tensor([1], [1], key="1"), shape))
    stored = {"0": bytes(16), "1": bytes(4)}
    yield "sparse.pt", c.torch_zip(c.state({"a.weight": sparse}), stored), "bear out"
    small = c.group(c.number(4000), c.number(3000))
    one = c.call("torch._utils._rebuild_sparse_tensor", coo, c.group(indices, c.tensor([1], [1], key="1"), small))
    yield "sparse400.pt", c.torch_zip(c.state({f"l{i}.weight": one for i in range(400)}), stored), "bear out"
    outside = c.tensor([2, 1], [1, 1], count=2, kind="Long")
    wrong = c.call("torch._utils._rebuild_sparse_tensor", coo, c.group(outside, c.tensor([1], [1], key="1"), small))
    yield (
        "outside.pt",
        c.torch_zip(c.state({"a.weight": wrong}), {"0": struct.pack("<qq", 1 << 40, 9), "1": bytes(4)}),
        "lie in",
    )


def zips() -> Iterator[Row]:
    """Archives that are something else for another reader, and those that unfold."""
    good = c.torch_zip(c.state({"a.weight": c.tensor([2], [1], count=2)}), {"0": bytes(8)})
    bomb = c.torch_zip(c.state({"a.weight": c.tensor([MEGABYTE], [1], count=MEGABYTE)}), {"0": bytes(4 * MEGABYTE)},
                       compressed=True)  # fmt: skip
    yield "two.pt", c.two_directories(bomb, good), "directory"
    yield "two-turned.pt", c.two_directories(good, bomb), "directory"
    yield "prefix.pt", b"PK\3\4" + bytes(60) + good, "one directory"
    yield "suffix.pt", good + b"more", "end in its directory"
    yield "comment.pt", good[:-2] + b"\4\0more", "end in its directory"
    yield "compressed.pt", bomb, "uncompressed"
    inner = c.torch_zip(c.state({"a.weight": c.tensor([50 * MEGABYTE], [1], count=50 * MEGABYTE, kind="Byte")}),
                        {"0": bytes(50 * MEGABYTE)}, compressed=True)  # fmt: skip
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("archive_format", "pt2")
        archive.writestr("serialized_state_dict.pt", inner)
    yield "nested.pt2", outer.getvalue(), "must unfold to at most"
    members = io.BytesIO()
    with zipfile.ZipFile(members, "w") as archive:
        for place in range(100_000):
            archive.writestr(str(place), b"")
    yield "members.pt", members.getvalue(), "members must have content"
    cased = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as source, zipfile.ZipFile(cased, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
        archive.writestr("ARCHIVE/DATA.PKL", b"")
    yield "case.pt", cased.getvalue(), "must appear once"
    rng = np.random.default_rng(0)
    some = np.zeros(200 * MEGABYTE, np.uint8)
    some[rng.integers(0, some.size, 100_000)] = 1
    yield "ratio.npz", c.npz({"a.weight": some}, compressed=True), "must unfold to at most"


def names() -> Iterator[Row]:
    """Names that are long, many, or equal once stripped."""
    yield "prefix.safetensors", c.floats(["module." * 140_000 + "a.weight"]), 4
    yield "wrapped.safetensors", c.floats(["_orig_mod." * 90_000 + "a.weight"]), 4
    some = [f"layer{i}.weight" for i in range(25_000)]
    empty = {name: c.entry("F32", [0], 0, 0) for name in [*some, "_orig_mod.layer7.weight"]}
    yield "twice.safetensors", c.safetensors(empty), "must appear once, wrappers stripped"
    yield "dots.safetensors", c.floats(["." * 100_000 + "weight", "." * 100_000 + "other"]), 8
    yield "long-name.safetensors", c.floats(["a" * 5_000_000]), "a tensor's name must have at most"
    yield "brackets.safetensors", c.safetensors(b'{"a": ' + b"[]," * 2_000_000 + b"}"), "bear out its size"


def odd() -> Iterator[Row]:
    """Content that libraries answer with exceptions of their own."""
    for number, shape in enumerate(([1 << 62, 4, 0], [10**30, 0])):
        yield f"zero{number}.safetensors", c.bits(shape, b"", kept=0, crc=0), "a"
    beyond = bytes([0b1111])
    yield "beyond.safetensors", c.bits([3], beyond, kept=4, crc=zlib.crc32(beyond)), "beyond a mask's last entry"
    yield "beyond3.safetensors", c.bits([3], beyond, kept=3, crc=zlib.crc32(beyond)), "beyond a mask's last entry"
    yield "secret", b"root:x:0:0:root:/root:/bin/bash\n", "begins with text"
    parts = (f"{i}.pre_ops.0.op.values" for i in range(23_000))
    yield "nncf.safetensors", c.floats(["fc.weight", "fc.pre_ops.0.op.binary_mask", *parts]), 4
    yield "dots300.safetensors", c.floats(["a." * 300 + "weight"]), 4
    for name, dtype in (("float4", "torch.float4_e2m1fn_x2"), ("bits8", "torch.bits8"), ("int3", "torch.int3")):
        sizes, hooks = c.group(c.number(2), c.number(2)), c.call("collections.OrderedDict")
        made = c.call("torch._utils._rebuild_tensor_v3", c.storage(4, kind="Byte"), c.number(0), sizes,
                      c.group(c.number(2), c.number(1)), b"\x89", hooks, c.named(dtype))  # fmt: skip
        yield f"{name}.pt", c.torch_zip(c.state({"a.weight": made})), "code execution"


def torch_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def written() -> Iterator[tuple[str, bytes, str, str | int]]:
    """(name, bytes, form to convert to, a word or the number kept): what cannot be written, or only just."""
    name, ones = "a.weight", torch.ones(2, 2)
    coo8 = torch.sparse_coo_tensor(torch.tensor([[0, 1], [0, 1]]), torch.ones(2).to(torch.float8_e4m3fn), (2, 2))
    yield "complex.pt", torch_bytes({name: ones.to(torch.complex32)}), "csr", 4
    yield "coo8.pt", torch_bytes({name: coo8}), "zeros", "content must fit its form"
    yield "surrogate.pt", torch_bytes({"a\ud800.weight": ones}), "csr", "names in an npz"
    yield "zero.pt", torch_bytes({"a\0b.weight": ones, "a\0c.weight": ones}), "csr", "names in an npz"
    yield "long.pt", torch_bytes({"a" * 4_000: ones}), "csr", 4
    yield "longer.pt", torch_bytes({"a" * 5_000_000: ones}), "csr", "names must be short"
    flipped = bytearray(torch_bytes({name: torch.full((8, 8), 7.0)}))
    flipped[flipped.find(struct.pack("<f", 7.0)) + 2] ^= 1
    yield "flipped.pt", bytes(flipped), "bits", "check sum of its bytes"
    yield "surrogate2.pt", torch_bytes({"a\ud800.weight": ones}), "bits", 4

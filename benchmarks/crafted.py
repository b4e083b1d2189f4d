"""Files that attack the readers, made at random from a seed: pickles of hostile calls and tensors, in every kind of file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np

from tests.hostile import crafting as c

RAN = "ran"  # the file that only running code could make, in the folder where a case runs

_CALLS = {
    "os.system": [f"touch {RAN}"], "posix.system": [f"touch {RAN}"], "builtins.eval": [f"open('{RAN}', 'w')"],
    "builtins.exec": [f"open('{RAN}', 'w')"], "builtins.open": [RAN, "w"], "io.open": [RAN, "w"], "_io.open": [RAN, "w"],
    "subprocess.getoutput": [f"touch {RAN}"], "subprocess.check_output": ["touch"], "pathlib.Path": [RAN],
    "importlib.import_module": ["antigravity"], "builtins.__import__": ["antigravity"], "torch.load": ["x"],
    "torch.hub.load": ["x", "y"], "numpy.load": ["x"], "pickle.loads": ["x"], "_pickle.loads": ["x"], "builtins.getattr": ["x", "y"],
    "operator.methodcaller": ["x"], "functools.partial": ["x"], "copyreg._reconstructor": ["x"], "torch.serialization.load": ["x"],
    "torch._utils._import_dotted_name": ["os.system"], "torch.storage._load_from_bytes": ["x"], "runpy.run_path": ["x"],
    "torch.jit.load": ["x"], "torch.ops.load_library": ["x"], "ctypes.CDLL": ["x"], "webbrowser.open": ["x"],
    "torch.nn.modules.linear.Linear": ["x"], "torch.from_file": [RAN], "shutil.copy": ["/etc/hostname", RAN],
}  # fmt: skip


_NAMES = [
    "a.weight", "a.weight_mask", "a.weight_orig", "a", "mask_a", "a.parametrizations.weight.0.mask", "\ud800", ".",
]  # fmt: skip
_EDGES = [
    0, 1, 2, 3, 64, 4096, 10**6, 1 << 24, 1 << 31, 2 * 10**9, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, 10**30, -1, -8,
]  # fmt: skip
_TYPES = [
    "Float", "Double", "Half", "Bool", "Byte", "Char", "Long", "Int", "ComplexFloat", "QInt8", "QUInt8", "BFloat16",
]  # fmt: skip


def payload(rng: np.random.Generator) -> bytes:
    """Opcodes that push a value: a call that makes a file, or a tensor or object that is larger than it looks."""
    kinds: list[Callable[[np.random.Generator], bytes]] = [
        _call, _call, _call, _sized, _window, _window, _quantised, _sparse, _object, _deep, _honest,
    ]  # fmt: skip
    return kinds[rng.integers(len(kinds))](rng)


def _number(rng: np.random.Generator) -> int:
    """A size: small, or an edge of a type, or anything."""
    return int(_EDGES[rng.integers(len(_EDGES))]) + int(rng.integers(-1, 2)) * int(rng.integers(0, 2))


def _numbers(rng: np.random.Generator) -> list[int]:
    return [_number(rng) for _ in range(rng.choice([0, 1, 1, 2, 2, 2, 3, 4, 70]))]


def _kind(rng: np.random.Generator) -> str:
    return str(rng.choice(_TYPES))


def _call(rng: np.random.Generator) -> bytes:
    name = str(rng.choice(list(_CALLS)))
    arguments = [c.text(each) for each in _CALLS[name]]
    made = c.new(name, *arguments) if rng.random() < 0.3 else c.call(name, *arguments)
    if rng.random() < 0.3:  # smuggled in as the function of a tensor of a subclass
        return c.call(
            "torch._tensor._rebuild_from_type_v2", c.named(name), c.named("torch.Tensor"), c.group(*arguments), b"N"
        )
    return made + (b"}b" if rng.random() < 0.2 else b"")


def _sized(rng: np.random.Generator) -> bytes:
    names = ["torch.Tensor", "torch.FloatTensor", "torch.FloatStorage", "torch.storage.UntypedStorage", "torch.Size",
             "torch.nn.parameter.Parameter", "builtins.bytearray", "collections.OrderedDict", "torch.device",
             "torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_wrapper_subclass"]  # fmt: skip
    make = c.new if rng.random() < 0.4 else c.call
    return make(str(rng.choice(names)), *map(c.number, _numbers(rng)))


def _window(rng: np.random.Generator) -> bytes:
    sizes = _numbers(rng)
    strides = [int(rng.choice([0, 0, 1, 1, 2, _number(rng)])) if abs(_number(rng)) < 1 << 62 else 0 for _ in sizes]
    offset = 0 if rng.random() < 0.7 else _number(rng)
    return c.tensor(sizes, strides, count=int(rng.choice([0, 1, 4, 64, 4096])), offset=offset, kind=_kind(rng))


def _quantised(rng: np.random.Generator) -> bytes:
    scheme = str(rng.choice(["torch.per_tensor_affine", "torch.per_channel_affine"]))
    quantiser = c.group(c.named(scheme), _window(rng), c.number(_number(rng)), c.number(_number(rng)))
    sizes = _numbers(rng)
    parts = (
        c.storage(64, kind="QInt8"), c.number(0), c.group(*map(c.number, sizes)),
        c.group(*[c.number(0)] * len(sizes)),
    )  # fmt: skip
    return c.call("torch._utils._rebuild_qtensor", *parts, quantiser, b"\x89", b"}")


def _sparse(rng: np.random.Generator) -> bytes:
    layout = str(rng.choice(["torch.sparse_coo", "torch.sparse_csr", "torch.sparse_bsc", "torch.strided"]))
    parts = [_window(rng) for _ in range(rng.choice([2, 3]))]
    shape = c.group(*map(c.number, _numbers(rng)))
    made = c.call("torch.serialization._get_layout", c.text(layout))
    return c.call("torch._utils._rebuild_sparse_tensor", made, c.group(*parts, shape))


def _object(rng: np.random.Generator) -> bytes:
    many = int(rng.choice([10, 1000, 30_000]))
    units = [
        b"]", b"}", b")", b"N", b"K\x01", b"]\x85", c.text("é" * 9), c.number(1 << 200), c.storage(1),
        c.tensor([1], [1]),
    ]  # fmt: skip
    unit = units[rng.integers(len(units))]
    if rng.random() < 0.5:
        return c.sequence([unit + b"q\x07", *[b"h\x07" if rng.random() < 0.5 else unit] * many])
    return c.table((c.number(place * ((1 << 61) - 1)), unit) for place in range(many))


def _deep(rng: np.random.Generator) -> bytes:
    depth = int(rng.choice([5, 60, 3000, 100_000]))
    if rng.random() < 0.5:
        return b"]" * depth + b"a" * (depth - 1)
    doubled = c.group(c.number(1)) + b"q\x00" + b"".join(b"h%c\x86q%c" % (i, i + 1) for i in range(min(depth, 60)))
    return b"}" + doubled + b"Ns"


def _honest(rng: np.random.Generator) -> bytes:
    return c.tensor([4, 4], [4, 1], count=16, kind=_kind(rng))


def placed(value: bytes, rng: np.random.Generator) -> bytes:
    """The value somewhere in what a checkpoint holds."""
    name = str(rng.choice(_NAMES))
    around = c.state({"b.weight": c.tensor([2, 2], [2, 1], count=4), name: value})
    places: list[Callable[[], bytes]] = [
        lambda: value, lambda: around, lambda: around, lambda: c.state({"state_dict": around, "epoch": c.number(3)}),
        lambda: c.state({"model": around, "args": c.new("argparse.Namespace") + c.state({"x": value}) + b"b"}),
        lambda: c.sequence([value, c.tensor([1], [1])]), lambda: c.table([(value, c.tensor([1], [1]))]),
        lambda: c.state({"fc": c.state({"weight": value})}), lambda: c.state({"backward_masks": c.sequence([value])}),
        lambda: c.group(c.text("storage"), value, c.text("0"), c.text("cpu"), c.number(1)) + b"Q",
        lambda: value + b"0" + around, lambda: c.call("torch._utils._rebuild_parameter", value, b"\x89", b"}"),
    ]  # fmt: skip
    return places[rng.integers(len(places))]()


def formed(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """(name, bytes) of a file around opcodes: a zip, an old file, a raw pickle, or a zip in a zip."""
    good = c.torch_zip(c.state({"a.weight": c.tensor([1], [1])}))
    storages = {"0": bytes(int(rng.choice([0, 4, 64, 65_536, 65_536, 65_536, 65_536])))}  # mostly enough for a tensor
    zipped = c.torch_zip(content, storages, compressed=rng.random() < 0.1)
    old = c.legacy(
        content, ["0"] if rng.random() < 0.8 else [], [(int(rng.choice([0, 1, 64, 1 << 40, -1])), bytes(256))]
    )
    raw = c.HEAD + content + c.STOP
    header = c.LEGACY.replace(b"}.", content + b".", 1) if rng.random() < 0.5 else raw
    choices = [
        ("x.pt", zipped), ("x.pt", zipped), ("x.bin", old), ("x.pth", old), ("x.pt", raw), ("x.pt", header),
        ("x.pt", c.two_directories(zipped, good)), ("x.pt", b"PK\3\4" + zipped), ("x.pt", zipped + good),
        ("x.pt2", c.zipped({"archive_format": b"pt2", "serialized_state_dict.pt": zipped})),
        ("x.npz", c.zipped({"a.npy": c.npy(f"'|O', 'fortran_order': False, 'shape': ({_number(rng)},)", raw)})),
        ("x.npy", c.npy(f"'<f{int(rng.choice([2, 4, 8, 16]))}', 'fortran_order': False, 'shape': ({_number(rng)},)", raw)),
        ("x.safetensors", c.safetensors({"a.weight": c.entry("F32", _numbers(rng), 0, len(raw))}, raw)),
        ("x.safetensors", c.bits(_numbers(rng), storages["0"], kept=_number(rng), crc=0)),
    ]  # fmt: skip
    return choices[rng.integers(len(choices))]


def crafted(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yields (name, bytes) of files, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        try:
            yield formed(placed(payload(rng), rng), rng)
        except (struct.error, OverflowError, ValueError):  # a number that the opcode has no room for
            yield formed(placed(_honest(rng), rng), rng)

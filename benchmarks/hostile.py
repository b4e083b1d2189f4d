"""Files that attack the readers, many of them: crafted ones, and mutations of honest ones.

    python benchmarks/hostile.py --keep parts                   10,000 files, 1,000,000 mutations: a quarter of an hour
    python benchmarks/hostile.py --files 250 --mutations 25000  a minute
    python benchmarks/hostile.py --json numbers.json --workers 8

With --keep, counts of finished parts stay in that folder, and the same command goes on where it was stopped.

Each crafted file is read in a process of its own (tests/hostile/forked.py), mutations in processes of some hundred.
Prints how often code ran, files were made, memory rose beyond max(64 MB, 4 x the file), five seconds were not enough, an
exception was none of the package's, a process died, or a message had more than one line. All should be 0; files for
which something is not are kept, and the status is 1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"OMP_NUM_THREADS": "1", "GRAPHSPARSE_THREADS": "1"}

from benchmarks import mutations
from benchmarks.timing import report
from tests.hostile import crafting as c
from tests.hostile import forked

FAULTS = (
    "code run", "files made", "memory beyond", "seconds beyond", "foreign exceptions", "processes died", "lines beyond one",
)  # fmt: skip
SECONDS = 5  # of processor time that a file may take
BATCH = 400  # mutations of one file in one process
FILES, MUTATIONS = 250, 25_000  # in one part
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a file in memory is made and read in less time
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


def payload(rng: np.random.Generator) -> bytes:
    """Opcodes that push a value: a call that makes a file, or a tensor or object that is larger than it looks."""
    kinds: list[Callable[[np.random.Generator], bytes]] = [
        _call, _call, _call, _sized, _window, _window, _quantised, _sparse, _object, _deep, _honest,
    ]  # fmt: skip
    return kinds[rng.integers(len(kinds))](rng)


def _number(rng: np.random.Generator) -> int:
    """A size: small, or an edge of a type, or anything."""
    edges = [
        0,
        1,
        2,
        3,
        64,
        4096,
        10**6,
        1 << 24,
        1 << 31,
        2 * 10**9,
        1 << 40,
        1 << 62,
        (1 << 63) - 1,
        1 << 63,
        10**30,
        -1,
        -8,
    ]
    return int(edges[rng.integers(len(edges))]) + int(rng.integers(-1, 2)) * int(rng.integers(0, 2))


def _numbers(rng: np.random.Generator) -> list[int]:
    return [_number(rng) for _ in range(rng.choice([0, 1, 1, 2, 2, 2, 3, 4, 70]))]


def _kind(rng: np.random.Generator) -> str:
    kinds = [
        "Float",
        "Double",
        "Half",
        "Bool",
        "Byte",
        "Char",
        "Long",
        "Int",
        "ComplexFloat",
        "QInt8",
        "QUInt8",
        "BFloat16",
    ]
    return str(rng.choice(kinds))


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
        c.storage(64, kind="QInt8"),
        c.number(0),
        c.group(*map(c.number, sizes)),
        c.group(*[c.number(0)] * len(sizes)),
    )
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
        b"]",
        b"}",
        b")",
        b"N",
        b"K\x01",
        b"]\x85",
        c.text("é" * 9),
        c.number(1 << 200),
        c.storage(1),
        c.tensor([1], [1]),
    ]
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
    name = str(
        rng.choice(
            [
                "a.weight",
                "a.weight_mask",
                "a.weight_orig",
                "a",
                "mask_a",
                "a.parametrizations.weight.0.mask",
                "\ud800",
                ".",
            ]
        )
    )
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


def faults_of(outcome: forked.Outcome, file_bytes: int) -> Counter[str]:
    """Which faults a crafted file has shown."""
    return Counter({
        "code run": int(RAN in outcome.made),
        "files made": len(set(outcome.made) - {RAN, "converted"}),
        "memory beyond": int(outcome.grown * (1 << 20) > max(64 << 20, 4 * file_bytes)),
        "seconds beyond": int(outcome.seconds > SECONDS),
        "foreign exceptions": int(outcome.status not in (0, 2) and outcome.status > 0),
        "processes died": int(outcome.status < 0),
        "lines beyond one": int(outcome.status != 0 and outcome.err.count("\n") > 1),
    })  # fmt: skip


def attack_files(count: int, seed: int, folder: Path) -> Counter[str]:
    """Reads crafted files, each in a process of its own, in one of several ways."""
    ways = (["masks", "FILE"], ["report", "FILE"], ["convert", "FILE", "converted", "--to", "bits"],
            ["convert", "FILE", "converted", "--to", "zeros"], ["analyze", "FILE", "--model", "none"],
            ["masks", "FILE", "other.weight", "[2, 2]"])  # fmt: skip
    total: Counter[str] = Counter()
    for number, (name, content) in enumerate(crafted(count, seed)):
        path = folder / name
        path.write_bytes(content)
        command = [str(path) if part == "FILE" else part for part in ways[number % len(ways)]]
        outcome = forked.outcome({"arguments": command, "memory": True, "seconds": SECONDS}, folder)
        found = faults_of(outcome, len(content))
        if any(found.values()):
            kept = Path(tempfile.gettempdir()) / f"hostile-{seed}-{number}-{name}"
            kept.write_bytes(content)
            print(f"{kept}: {dict(+found)} {command[0]} {outcome.err[:300]}", flush=True)
        total.update(found)
        total.update(files=1, read=int(outcome.status == 0))
        path.unlink()
    return total


def attack_mutants(count: int, seed: int, folder: Path) -> Counter[str]:
    """Reads mutations of a good file of each form, in processes of some hundred."""
    files = mutations.samples(folder)
    total: Counter[str] = Counter()
    for number in range(-(-count // BATCH)):
        name, path = list(files.items())[number % len(files)]
        share = min(BATCH, count - number * BATCH)
        told = folder / "told.json"
        told.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            _read_mutants(path, share, seed * 1_000_003 + number, told)
        _, status = os.waitpid(child, 0)
        total.update(mutations=share)
        if status or not told.exists():
            total.update({"processes died": 1})
            print(f"{name}, seed {seed * 1_000_003 + number}: status {status}", flush=True)
        else:
            total.update(json.loads(told.read_text()))
    return total


def _read_mutants(path: Path, count: int, seed: int, told: Path) -> None:
    """In a process of its own: reads mutations of a file, and writes what was wrong."""
    warnings.simplefilter("ignore")
    good, found = path.read_bytes(), Counter[str]()
    mutations.read_mutant(path)
    base = forked.resident()
    forked.bound_memory()
    mutant = path.with_name(f"mutant-{path.name}")
    for data in mutations.mutants(good, count, seed):
        (mutant if path.suffix != ".json" else path).write_bytes(data)
        start = time.process_time()
        try:
            found.update(read=int(mutations.read_mutant(mutant if path.suffix != ".json" else path)))
        except BaseException as error:
            found.update({"foreign exceptions": 1})
            Path(tempfile.gettempdir(), f"hostile-mutant-{seed}-{path.name}").write_bytes(data)
            print(f"{path.name}, seed {seed}: {type(error).__name__} {str(error)[:200]}", flush=True)
        found.update({"seconds beyond": int(time.process_time() - start > SECONDS)})
    path.write_bytes(good)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - base
    found.update({"memory beyond": int(peak > max(64 << 20, 4 * len(good)))})
    told.write_text(json.dumps(found))
    os._exit(0)


@dataclass(frozen=True)
class Part:
    """Some files, or some mutations, whose seed says all: the same whoever reads them, and whenever."""

    kind: str
    number: int
    count: int
    seed: int

    def counted(self, folder: Path) -> Counter[str]:
        """Reads them, in a folder that has good files."""
        seed = self.seed * 1_000_003 + self.number
        if self.kind == "files":
            return attack_files(self.count, seed, folder)
        return attack_mutants(self.count, seed, folder / "mutants")


def parts_of(files: int, mutants: int, seed: int) -> list[Part]:
    """All the work, files and mutations in turn, so that time left can be told early."""
    made = [
        Part(kind, number, min(size, count - number * size), seed)
        for kind, count, size in (("files", files, FILES), ("mutations", mutants, MUTATIONS))
        for number in range(-(-count // size))
    ]
    return sorted(made, key=lambda part: part.number * (FILES / files if part.kind == "files" else MUTATIONS / mutants))


def work(parts: list[Part], kept: Path) -> None:
    """One worker's parts, in this process and its forks; each part's counts are kept as soon as they are known."""
    with tempfile.TemporaryDirectory(prefix="hostile-", dir=SCRATCH) as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        forked.warm_up(folder)
        for part in parts:
            shutil.rmtree(folder / "mutants", ignore_errors=True)  # a part makes its own files
            (folder / "mutants").mkdir()
            found = json.dumps({"part": asdict(part), "counts": part.counted(folder)})
            (folder / "counts").write_text(found)
            shutil.copy(folder / "counts", beside := kept / f".{part.kind}-{part.number}")
            beside.replace(kept / f"{part.kind}-{part.number}.json")


def missing(parts: list[Part], kept: Path) -> list[Part]:
    """The parts whose counts are not there. Raises where counts are there of other parts of the same names."""
    found = []
    for part in parts:
        path = kept / f"{part.kind}-{part.number}.json"
        if not path.exists():
            found.append(part)
        elif json.loads(path.read_text())["part"] != asdict(part):
            raise SystemExit(f"{kept} must hold parts of this run; it has another {path.name}: name another folder")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--mutations", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where counts of parts stay; run again, it goes on")
    asked = parser.parse_args()
    start, total = time.monotonic(), Counter[str]()
    parts = parts_of(asked.files, asked.mutations, asked.seed)
    with tempfile.TemporaryDirectory() as name:
        kept = asked.keep or Path(name)
        kept.mkdir(parents=True, exist_ok=True)
        left = missing(parts, kept)
        context = multiprocessing.get_context("spawn")
        running = [
            context.Process(target=work, args=(left[n :: asked.workers], kept))
            for n in range(min(asked.workers, len(left)))
        ]
        for process in running:
            process.start()
        while any(process.is_alive() for process in running):
            time.sleep(1)
            if sys.stderr.isatty():
                done, minutes = len(parts) - len(missing(parts, kept)), (time.monotonic() - start) / 60
                print(f"\r{done} of {len(parts)} parts, {minutes:.0f} minutes", end="", file=sys.stderr)
        if missing(parts, kept) or any(process.exitcode for process in running):
            return 1
        for part in parts:
            total.update(json.loads((kept / f"{part.kind}-{part.number}.json").read_text())["counts"])
    numbers = {
        **{key: total[key] for key in ("files", "mutations", "read", *FAULTS)},
        "minutes": (time.monotonic() - start) / 60,
    }
    for key, value in numbers.items():
        print(f"{key:20} {value:12,.1f}" if key == "minutes" else f"{key:20} {value:12,}")
    if asked.json:
        report(f"Crafted files and mutations, seed {asked.seed} (goal: no fault of any kind)", [numbers], asked.json)
    return int(any(total[key] for key in FAULTS))


if __name__ == "__main__":
    sys.exit(main())

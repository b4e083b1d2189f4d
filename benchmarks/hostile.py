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
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"OMP_NUM_THREADS": "1", "GRAPHSPARSE_THREADS": "1"}

from benchmarks import mutations
from benchmarks.crafted import RAN, crafted
from benchmarks.timing import report
from tests.hostile import forked

FAULTS = (
    "code run", "files made", "memory beyond", "seconds beyond", "foreign exceptions", "processes died", "lines beyond one",
)  # fmt: skip
SECONDS = 5  # of processor time that a file may take
BATCH = 400  # mutations of one file in one process
FILES, MUTATIONS = 250, 25_000  # in one part
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a file in memory is made and read in less time


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

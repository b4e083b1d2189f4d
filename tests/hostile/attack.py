"""Runs commands on crafted files, each in a process of its own with limits, and says what each cost.

    python attack.py CASES OUTCOMES

CASES: JSON list of {"name", "file", "command"}; OUTCOMES: where the JSON list of what became of them goes. A process is
forked for each case, after everything is imported and compiled, so that a case costs milliseconds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

SECONDS = 5  # of processor time
WALL = 120
ADDRESSES = 3 << 30  # bytes beyond what the process has


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run(command: list[str]) -> None:
    """A command line; or ``masks FILE [NAME SHAPE]`` and ``report FILE``, which call the functions behind it."""
    from graphsparse import cli
    from graphsparse.checkpoints import open_checkpoint, read_masks
    from graphsparse.errors import GraphsparseError
    from graphsparse.reports.report import report_without_model

    kind, *rest = command
    if kind not in ("masks", "report"):
        cli.main(command)
    try:
        if kind == "masks":
            parameters = {rest[1]: json.loads(rest[2])} if len(rest) > 1 else None
            print(sum(int(mask.sum()) for mask in read_masks(rest[0], parameters=parameters).values()))
        else:
            print(report_without_model(open_checkpoint(rest[0]), lambda done, total: None).summary)
    except GraphsparseError as error:
        print(f"graphsparse: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def attempt(case: dict, folder: Path) -> dict:
    """Forks, runs the command in an empty folder, and returns status, output, files made, memory and time."""
    out, err, base = folder / "out", folder / "err", folder / "base"
    canary = Path(tempfile.mkdtemp(dir=folder))
    child = os.fork()
    if child == 0:
        _in_child(case["command"], folder, canary)
    _, status, usage = os.wait4(child, 0)
    made = sorted(path.name for path in canary.iterdir() if path.name != "converted")
    for path in canary.iterdir():
        path.unlink()
    canary.rmdir()
    return {
        "name": case["name"],
        "command": case["command"],
        "status": os.waitstatus_to_exitcode(status),
        "stdout": out.read_text(errors="replace")[-2000:],
        "stderr": err.read_text(errors="replace")[:4000],
        "stderr_bytes": err.stat().st_size,
        "made": made,
        "megabytes": max(0, usage.ru_maxrss * 1024 - int(base.read_text())) / (1 << 20),
        "seconds": usage.ru_utime + usage.ru_stime,
        "file_bytes": os.stat(os.fsencode(case["file"])).st_size,
    }  # fmt: skip


def _in_child(command: list[str], folder: Path, canary: Path) -> None:
    """What memory the process has is seen once it has read a good file: a fork has no pages of libraries at first."""
    os.chdir(canary)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    for good in ("good.pt", "good.safetensors"):
        run(["masks", str(folder / good)])
    sys.stdout.flush()
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)
    (folder / "base").write_text(str(resident()))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES, used + ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 1, SECONDS + 2))
    signal.alarm(WALL)
    status = 0
    try:
        run(command)
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException as error:
        print(f"FOREIGN {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def warm_up(folder: Path) -> None:
    """Imports and compiles what the cases need, and leaves no thread behind."""
    import torch

    from graphsparse import cli
    from graphsparse.checkpoints import read_masks

    torch.set_num_threads(1)
    torch.save({"a.weight": torch.ones(70, 3)}, folder / "good.pt")
    for command in (["analyze", "good.pt", "--model", "none"], ["analyze", "good.pt", "--model", "chain"],
                    ["convert", "good.pt", "good.safetensors", "--to", "bits"]):  # fmt: skip
        try:
            cli.main([str(folder / part) if part.startswith("good") else part for part in command])
        except SystemExit as error:
            assert not error.code, command
    read_masks(folder / "good.safetensors")


def main(cases: Path, outcomes: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warm_up(folder)
        sys.stdout.flush()
        found = []
        for case in json.loads(cases.read_text()):
            start = time.monotonic()
            found.append(attempt(case, folder))
            found[-1]["wall"] = time.monotonic() - start
        outcomes.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

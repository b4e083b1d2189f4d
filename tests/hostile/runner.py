"""The command line on many files, each in a process of its own: a folder to watch, bounded memory and time, real output.

Run as a program: reads JSON [[name, arguments, files to lay beside], ...] from standard input, writes one JSON line each.
The imports are made once; each case is a fork, so that a crash or a changed setting harms no other case.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30
BYTES = 3 << 30  # beyond what the imports have taken


@dataclass(frozen=True)
class Outcome:
    """What a case did: exit status (negative: the signal), text on standard error, files that it made, peak memory.

    ``grown``: MB of memory that the case took beyond what it began with; ``seconds``: how long it ran.
    """

    status: int
    errors: str
    output: str
    made: list[str]
    seconds: float
    grown: float


def outcomes(cases: list[tuple[str, list[str], dict[str, str]]]) -> dict[str, Outcome]:
    """Runs ``graphsparse ARGUMENTS`` for each case (name, arguments, {file beside it: text})."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hostile.runner"], input=json.dumps(cases), capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=SECONDS * (len(cases) + 2),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return {name: Outcome(**found) for name, found in map(json.loads, ran.stdout.splitlines())}


def _case(arguments: list[str], files: dict[str, str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as outside:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        begun = time.perf_counter()
        child = os.fork()
        if child == 0:
            _run(arguments, folder, outside)
        _, status, usage = os.wait4(child, 0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "errors": (Path(outside) / "2").read_text(errors="replace"),
            "output": (Path(outside) / "1").read_text(errors="replace"),
            "made": sorted(path.name for path in Path(folder).iterdir() if path.name not in files),
            "seconds": time.perf_counter() - begun,
            "grown": (usage.ru_maxrss - _resident()) / 1024,
        }


def _run(arguments: list[str], folder: str, outside: str) -> None:
    """The command line, as the shell would run it; never returns."""
    try:
        os.chdir(folder)
        sys.path.insert(0, folder)  # as under python -m
        for number in (1, 2):
            os.dup2(os.open(f"{outside}/{number}", os.O_CREAT | os.O_WRONLY, 0o600), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.alarm(SECONDS)
        sys.argv = ["graphsparse", *arguments]
        from graphsparse.cli import main

        main(arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _resident() -> int:
    """KB that the parent holds: what every case begins with."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def _warm_up() -> None:
    """Make the imports that every case needs; no thread is alive when a case forks."""
    from tests.hostile import programs

    with tempfile.TemporaryDirectory() as folder:
        honest = Path(folder) / "honest.pt2"
        honest.write_bytes(programs.zipped(programs.honest()))
        from graphsparse.cli import main

        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main(["analyze", str(honest)])


if __name__ == "__main__":
    _warm_up()
    for case, arguments, files in json.load(sys.stdin):
        print(json.dumps([case, _case(arguments, files)]), flush=True)

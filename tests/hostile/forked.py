"""Calls of the command line in real processes: one process imports once and forks for each call, with real descriptors.

Run as a script it is that process: a call comes in as a line of JSON, its outcome goes out as one.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """How a call ended: exit status (negative: killed), both outputs, and growth of memory in MB."""

    status: int
    out: str
    err: str
    grown: float

    def refused(self, *texts: str, status: int = 2) -> str:
        """Asserts that the call was refused in one line with these texts, and returns the line."""
        assert self.status == status, self
        assert self.err.startswith("graphsparse: ") and len(self.err.splitlines()) == 1, self.err
        assert self.err.endswith("\n") and "Traceback" not in self.err
        for text in texts:
            assert text in self.err, self.err
        return self.err

    def answered(self, *texts: str) -> str:
        """Asserts that the call went well with nothing on standard error, and returns what it printed."""
        assert self.status == 0 and self.err == "", self
        for text in texts:
            assert text in self.out, self.out
        return self.out


class Server:
    """The process that forks."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.hostile.forked"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]), "OMP_NUM_THREADS": "1"}
        environment.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def __call__(self, *arguments: Any, **settings: Any) -> Outcome:
        """Runs the command line. Settings: folder, stdout ("full", "closed", a path), encoding, environment, file_size, broken (what analyze raises)."""
        call = {**settings, "arguments": [str(argument) for argument in arguments]}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(call, default=str) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    _warm()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_outcome(json.loads(line))), file=answers, flush=True)


def _warm() -> None:
    """Loads in the parent what each child would load again: modules, compiled loops, torch's capture."""
    import torch

    import graphsparse.cli.app
    import graphsparse.reports.curves  # noqa: F401
    from graphsparse import analyze, compression_curve, data, export, prune, zoo

    example = torch.zeros(1, 1, 8, 8)
    analyze(data.path("digits-mlp-50x.pt"), "chain")
    analyze(data.path("digits-mlp-50x.pt"), "none")
    model = zoo.build("digits_mlp")
    batches = [(torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))]
    prune(model, example, "snip", compression=50, data=batches)
    graph = export(model, example)
    compression_curve(graph, {name: torch.rand(shape) for name, shape in graph.shapes.items()})


def _outcome(call: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        child = os.fork()
        if child == 0:
            _become(call, out, err)
        _, status, usage = os.wait4(child, 0)
        texts = {path.name: path.read_text(errors="replace") if path.exists() else "" for path in (out, err)}
        return {"status": os.waitstatus_to_exitcode(status), **texts, "grown": usage.ru_maxrss / 1e3 - before}


def _become(call: dict[str, Any], out: Path, err: Path) -> None:
    """In the child: everything that a shell would set up, then the command line; never returns."""
    status = 70
    try:
        signal.alarm(SECONDS)
        os.chdir(call.get("folder", "."))
        os.environ.update(call.get("environment", {}))
        if "file_size" in call:
            resource.setrlimit(resource.RLIMIT_FSIZE, (call["file_size"], resource.RLIM_INFINITY))
        os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
        target = {"full": "/dev/full", "closed": None}.get(call.get("stdout", ""), call.get("stdout") or str(out))
        os.close(0), os.open(os.devnull, os.O_RDONLY)
        if target is None:
            os.close(1)
            sys.stdout = None
        else:
            os.dup2(os.open(target, os.O_WRONLY | os.O_CREAT), 1)
            sys.stdout = _text(1, call)
        sys.stderr = _text(2, call)
        if "broken" in call:
            _break(call["broken"])
        status = _main(call["arguments"])
    finally:
        os._exit(status)


def _text(descriptor: int, call: dict[str, Any]) -> io.TextIOWrapper:
    """As the interpreter makes its standard streams."""
    errors = "strict" if descriptor == 1 else "backslashreplace"
    return io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), call.get("encoding", "utf-8"), errors)


def _break(error: str) -> None:
    import graphsparse.reports.analyze as module

    def broken(*_: Any, **__: Any) -> None:
        raise eval(error)

    module.analyze = broken  # type: ignore[assignment]


def _main(arguments: list[str]) -> int:
    """What the interpreter does around a program: traces of what nobody caught, a last flush."""
    import traceback

    from graphsparse import cli

    try:
        cli.main(arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream, failed in ((sys.stdout, 120), (sys.stderr, status)):
        try:
            if stream is not None:
                stream.flush()
        except Exception as error:
            os.write(2, f"Exception ignored at exit: {error!r}\n".encode())
            status = failed
    return status


if __name__ == "__main__":
    _serve()

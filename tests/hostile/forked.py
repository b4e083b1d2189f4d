"""Command lines in processes of their own: one process imports once and forks for each call, with real descriptors.

Run as a script it is that process: a call comes in as a line of JSON, its outcome goes out as one. What a call costs and
what it makes in its folder is measured; a crash or a changed setting harms no other call.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS = 60  # of the clock
ADDRESSES = 3 << 30  # bytes beyond what the process has


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        status: the exit status; negative: the signal that killed it.
        out, err: both outputs.
        made: names of the files that it made in its folder, where it had one of its own.
        grown: MiB of memory beyond what the process had.
        seconds: of processor time.
    """

    status: int
    out: str
    err: str
    made: list[str]
    grown: float
    seconds: float

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
        path = os.pathsep.join([os.getcwd(), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GRAPHSPARSE_THREADS": "1"}
        environment.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def __call__(self, *arguments: Any, **settings: Any) -> Outcome:
        """Runs the command line; or ``masks FILE [NAME SHAPE]`` and ``report FILE``, the functions behind it.

        Settings: folder (else an empty one, with the texts ``beside``), stdout ("full", "closed", "unread", a path), encoding,
        environment, file_size, broken (what analyze raises); memory (whether it is bounded, and measured from where a
        good file is read), seconds (of processor time, the bound).
        """
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
    with tempfile.TemporaryDirectory() as place:
        warm_up(Path(place))
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(outcome(json.loads(line), Path(place)))), file=answers, flush=True)


def warm_up(place: Path) -> None:
    """Loads in the parent what each child would load again: modules, compiled loops, torch's capture. No thread stays.

    Leaves two good files in the folder, which `outcome` reads where memory is measured.
    """
    import torch

    import graphsparse.reports.curves  # noqa: F401
    from graphsparse import analyze, cli, compression_curve, data, export, prune, zoo
    from tests.compiled_once import compile_once
    from tests.hostile import programs

    compile_once()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"a.weight": torch.ones(70, 3)}, place / "good.pt")
        (place / "good.pt2").write_bytes(programs.zipped(programs.honest()))
        for command in (["convert", "good.pt", "good.safetensors", "--to", "bits"], ["analyze", "good.pt2"]):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                cli.main([str(place / part) if part.startswith("good") else part for part in command])
        analyze(data.path("digits-mlp-50x.pt"), "chain")
        analyze(data.path("digits-mlp-50x.pt"), "none")
        model, example = zoo.build("digits_mlp"), torch.zeros(1, 1, 8, 8)
        batches = [(torch.rand(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64))]
        prune(model, example, "snip", compression=50, data=batches)
        graph = export(model, example)
        compression_curve(graph, {name: torch.rand(shape) for name, shape in graph.shapes.items()})
    gc.collect()
    gc.freeze()  # a child that looks for garbage need not copy all of this


def outcome(call: dict[str, Any], place: Path) -> Outcome:
    """Forks for a call, and says how it ended; ``place``: the folder that `warm_up` had."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        own, out, err, base = (Path(name, part) for part in ("own", "out", "err", "base"))
        own.mkdir()
        beside = call.get("beside", {})
        for file, text in beside.items():
            (own / file).write_text(text)
        before = resident()
        child = os.fork()
        if child == 0:
            _become({"folder": own, **call}, place, out, err, base)
        _, status, usage = os.wait4(child, 0)
        begun = int(base.read_text()) if base.exists() else before
        return Outcome(
            status=os.waitstatus_to_exitcode(status),
            out=out.read_text(errors="replace") if out.exists() else "",
            err=err.read_text(errors="replace") if err.exists() else "",
            made=sorted(path.name for path in own.iterdir() if path.name not in beside),
            grown=max(0, usage.ru_maxrss * 1024 - begun) / (1 << 20),
            seconds=usage.ru_utime + usage.ru_stime,
        )


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def bound_memory() -> None:
    """Lets this process take no more than so many addresses beyond what it has."""
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _become(call: dict[str, Any], place: Path, out: Path, err: Path, base: Path) -> None:
    """In the child: everything that a shell would set up, then the command line; never returns."""
    status = 70
    try:
        signal.alarm(SECONDS)
        os.chdir(call["folder"])
        sys.path.insert(0, str(call["folder"]))  # as under python -m
        os.environ.update(call.get("environment", {}))
        if "file_size" in call:
            resource.setrlimit(resource.RLIMIT_FSIZE, (call["file_size"], resource.RLIM_INFINITY))
        os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
        target = {"full": "/dev/full", "closed": None}.get(call.get("stdout", ""), call.get("stdout") or str(out))
        os.close(0), os.open(os.devnull, os.O_RDONLY)
        if target is None:
            os.close(1)
            sys.stdout = None
        elif target == "unread":  # a pipe whose reader is gone
            reader, writer = os.pipe()
            os.dup2(writer, 1), os.close(reader)
            sys.stdout = _text(1, call)
        else:
            os.dup2(os.open(target, os.O_WRONLY | os.O_CREAT), 1)
            sys.stdout = _text(1, call)
        sys.stderr = _text(2, call)
        if "broken" in call:
            _break(call["broken"])
        if "memory" in call:  # a fork has no pages of libraries at first: what it has is seen once it has read a file
            for good in ("good.pt", "good.safetensors"):
                _function("masks", str(place / good))
            base.write_text(str(resident()))
            bound_memory()
        if "seconds" in call:
            resource.setrlimit(resource.RLIMIT_CPU, (call["seconds"] + 1, call["seconds"] + 2))
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


def _function(kind: str, path: str, *one: str) -> Any:
    """What `read_masks` or a report without a model finds; errors of ours end as at the command line."""
    from graphsparse.checkpoints import open_checkpoint, read_masks
    from graphsparse.errors import GraphsparseError
    from graphsparse.reports.report import report_without_model

    try:
        if kind == "report":
            return report_without_model(open_checkpoint(path), lambda done, total: None).summary
        parameters = {one[0]: json.loads(one[1])} if one else None
        return sum(int(mask.sum()) for mask in read_masks(path, parameters=parameters).values())
    except GraphsparseError as error:
        print(f"graphsparse: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _main(arguments: list[str]) -> int:
    """What the interpreter does around a program: traces of what nobody caught, a last flush."""
    import traceback

    from graphsparse import cli

    try:
        if arguments and arguments[0] in ("masks", "report"):
            print(_function(*arguments))
        else:
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

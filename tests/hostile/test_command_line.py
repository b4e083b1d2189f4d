"""The command line under clumsy and hostile hands, in real processes with real descriptors."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from graphsparse import data

DIGITS = [data.path("digits-mlp-50x.pt"), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]


@pytest.fixture()
def net(tmp_path):
    """3 > 4 > 2, as in test_cli: of 6 kept connections 4 are active."""
    first = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 3]])
    second = torch.tensor([[1.0, 5, 0, 0], [0, 0, 6, 0]])
    torch.save({"a.weight": first, "a.bias": torch.ones(4), "b.weight": second}, tmp_path / "net.pt")
    return tmp_path / "net.pt"


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class TestSpecialFiles:
    """What is no regular file is written through, never replaced."""

    def test_a_terminal_stays_one(self, call, net):
        """Not /dev/null: a fault would replace the machine's own. No file can be made beside a terminal."""
        lead, follow = os.openpty()
        link = net.parent / "link"
        link.symlink_to(os.ttyname(follow))
        call("analyze", net, "--model", "chain", "--json", link).answered("4 of 20 active")
        assert link.is_symlink() and stat.S_ISCHR(link.stat().st_mode)
        assert os.read(lead, 1 << 16).startswith(b"{")
        os.close(lead), os.close(follow)

    @pytest.mark.skipif(os.getuid() != 0, reason="only root may make a device")
    @pytest.mark.parametrize(
        "arguments",
        [
            ("analyze", "--model", "none", "--json", "DEVICE"),
            ("analyze", "--model", "none", "--html", "DEVICE"),
            ("prune", "--model", "chain", "--compression", "6", "--out", "DEVICE"),
            ("convert", "DEVICE", "--to", "zeros"),
            ("curve", "--model", "chain", "--method", "magnitude", "--csv", "DEVICE"),
        ],
    )
    def test_a_device_of_ones_own_stays_one(self, call, net, arguments):
        device = net.parent / "null"
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        arguments = [device if argument == "DEVICE" else argument for argument in arguments]
        call(arguments[0], net, *arguments[1:]).answered()
        assert stat.S_ISCHR(device.stat().st_mode) and files(net.parent) == {"net.pt", "null"}

    @pytest.mark.parametrize(
        ("arguments", "start"),
        [
            (("analyze", "--model", "chain", "--json", "PIPE"), b"{\n"),
            (("convert", "PIPE", "--to", "bits"), None),
            (("convert", "PIPE", "--to", "csr"), b"PK"),
            (("prune", "--model", "chain", "--compression", "6", "--to", "openlth", "--out", "PIPE"), b"PK"),
            (("curve", "--model", "chain", "--method", "magnitude", "--csv", "PIPE"), b"method,"),
        ],
    )
    def test_a_pipe_is_written_through(self, call, net, arguments, start):
        pipe, read = net.parent / "pipe", []
        os.mkfifo(pipe)
        descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # the writer does not wait
        arguments = [pipe if argument == "PIPE" else argument for argument in arguments]
        outcome = call(arguments[0], net, *arguments[1:])
        while block := os.read(descriptor, 1 << 16):
            read.append(block)
        os.close(descriptor)
        outcome.answered()
        content = b"".join(read)
        assert content.startswith(start) if start else content[8:9] == b"{"
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    def test_standard_output_as_a_file(self, call, net):
        lines = call("analyze", net, "--model", "chain", "--json", "/dev/stdout").answered("4 of 20 active")
        assert json.JSONDecoder().raw_decode(lines)[0]["summary"]["active"] == 4

    def test_standard_output_as_a_file_through_a_pipe(self, net):
        command = [sys.executable, "-m", "graphsparse", "analyze", str(net), "--model", "chain", "--json"]
        shell = ["bash", "-c", '"$@" >(cat > copy.json) > table.txt; wait', "-"]
        done = subprocess.run([*shell, *command], cwd=net.parent, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and not done.stderr
        until(lambda: (net.parent / "copy.json").read_text().endswith("}\n"))
        assert json.loads((net.parent / "copy.json").read_text())["summary"]["active"] == 4
        assert "4 of 20 active" in (net.parent / "table.txt").read_text()


def answering(number: int) -> None:
    """Gives a signal its usual effect: a runner may start its children with signals ignored or blocked."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])


def until(done) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


class TestOutputs:
    def test_a_letter_that_the_encoding_lacks(self, call, net):
        target = net.parent / "ü漢.safetensors"
        outcome = call("convert", net, target, "--to", "zeros", encoding="ascii")
        outcome.answered(r"\xfc\u6f22.safetensors")
        assert target.exists()
        call("analyze", net, "--model", "chain", encoding="ascii").answered("4 of 20 active")

    def test_a_name_that_is_no_text(self, call, net):
        target = os.fsdecode(os.fsencode(net.parent) + b"/\xff.safetensors")
        call("convert", net, target, "--to", "zeros").answered("masks")
        assert os.path.exists(target)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("analyze", "NET", "--model", "chain"),
            ("analyze", "NET", "--model", "chain", "--json", "-"),
            ("convert", "NET", "OUT.safetensors", "--to", "zeros"),
            ("--help",),
            ("--version",),
        ],
    )
    @pytest.mark.parametrize(("stdout", "reason"), [("full", "No space left"), ("closed", "Bad file descriptor")])
    def test_standard_output_that_takes_nothing(self, call, net, arguments, stdout, reason):
        arguments = [net if argument == "NET" else argument for argument in arguments]
        call(*arguments, folder=net.parent, stdout=stdout).refused("standard output must take", reason)

    def test_closed_outputs_take_no_file_of_ours(self, net):
        command = [sys.executable, "-m", "graphsparse", "analyze", str(net), "--model", "chain", "--json", "out.json"]
        done = subprocess.run(["bash", "-c", '"$@" >&- 2>&-', "-", *command], cwd=net.parent, timeout=120)
        assert done.returncode == 2
        assert json.loads((net.parent / "out.json").read_text())["summary"]["active"] == 4

    def test_empty_names_are_not_ignored(self, call, net):
        for option in ("--json", "--html"):
            call("analyze", net, "--model", "chain", option, "").refused("a folder")
        call("curve", net, "--model", "chain", "--method", "magnitude", "--csv", "").refused("a folder")

    @pytest.mark.parametrize("width", ["40", "0", "1", "-5", "80"])
    def test_any_width(self, call, net, width):
        lead, follow = os.openpty()
        terminal = {"stdout": os.ttyname(follow), "environment": {"COLUMNS": width, "TERM": "xterm"}}
        outcome = call("analyze", net, "--model", "chain", **terminal)
        outcome.answered()  # else there may be nothing to read
        text = os.read(lead, 1 << 16).decode()
        os.close(lead), os.close(follow)
        rows = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
        assert re.search(r"a\.weight .* 2 +.*0\.8333", rows) and "\N{HORIZONTAL ELLIPSIS}" not in rows
        assert width == "1" or "4 of 20" in rows


LOUD_MODEL = """
import logging, os, sys, warnings
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, values=False, fails=False):
        super().__init__()
        warnings.warn("a warning of python")
        logging.getLogger("transformers").error("a logged error")
        logging.getLogger("torch").error("a logged error")
        print("to the output")
        print("to the error", file=sys.stderr)
        os.write(2, b"from below\\n")
        self.a, self.b, self.values, self.fails = nn.Linear(3, 4), nn.Linear(4, 2, bias=False), values, fails

    def forward(self, x):
        warnings.warn("a warning of forward")
        if self.fails:
            raise SystemError("forward's own")
        x = self.a(x)
        if self.values and x.sum() > 0:
            x = -x
        return self.b(x)

def leaves():
    sys.exit(0)

def breaks():
    raise KeyError("of the\\nmodel")
"""


class TestOneLine:
    """Nothing but ours reaches standard error: nothing on success, one line else."""

    @pytest.fixture()
    def loud(self, net):
        (net.parent / "loud_nets.py").write_text(LOUD_MODEL)
        return net

    def test_nothing_of_libraries_on_success(self, call, loud):
        arguments = ["analyze", loud, "--model", "loud_nets:Net", "--input", "3"]
        out = call(*arguments, "--json", "-", folder=loud.parent).answered()
        assert json.loads(out)["summary"]["active"] == 4
        shown = call(*arguments, "--traceback", "--json", "-", folder=loud.parent)
        assert json.loads(shown.out)["summary"]["active"] == 4
        for text in ("to the output", "to the error", "from below", "a logged error"):
            assert text in shown.err

    @pytest.mark.parametrize("option", ["values=True", "fails=True"])
    def test_a_model_that_cannot_be_captured(self, call, loud, option):
        arguments = ["analyze", loud, "--model", "loud_nets:Net", "--input", "3", "--model-arg", option]
        call(*arguments, folder=loud.parent).refused("must")
        shown = call(*arguments, "--traceback", folder=loud.parent)
        assert shown.status == 2 and "Traceback" in shown.err and shown.err.splitlines()[-1].startswith("graphsparse:")

    @pytest.mark.parametrize(
        "model", ["loud_nets:leaves", "loud_nets:breaks", "a\nb:c", "loud_nets:no\r\nthing", "\x1b[2J:a"]
    )
    def test_a_factory_that_fails(self, call, loud, model):
        call("analyze", loud, "--model", model, "--input", "3", folder=loud.parent).refused()

    def test_an_archive_that_torch_logs_about(self, call, tmp_path):
        import zipfile

        model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        torch.export.save(torch.export.export(model, (torch.zeros(1, 4),)), tmp_path / "net.pt2")
        with zipfile.ZipFile(tmp_path / "net.pt2") as old, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name.endswith("models/model.json"):
                    program = json.loads(content)
                    program["schema_version"] = {"major": 99, "minor": 0}
                    content = json.dumps(program).encode()
                new.writestr(name, content)
        call("analyze", tmp_path / "bad.pt2").refused()

    @pytest.mark.parametrize("protocol", [0, 1, 4, 5])
    def test_a_pickle_of_another_protocol(self, call, tmp_path, protocol):
        import pickle

        (tmp_path / "net.pt").write_bytes(pickle.dumps({"a": [1.0]}, protocol=protocol))
        call("analyze", tmp_path / "net.pt", "--model", "none").refused()

    def test_a_very_long_message(self, call, loud):
        line = call("analyze", loud, "--model", "x" * 100_000).refused()
        assert len(line) < 3000

    def test_words_that_are_no_commands(self, call):
        for arguments in (["no\nthing"], ["analyze"], ["analyze", "--no\nthing"], ["convert", "a", "b", "--to"]):
            call(*arguments).refused()


class TestDefects:
    @pytest.mark.parametrize(
        "error",
        ["TypeError('first\\nsecond')", "OSError('x')", "BrokenPipeError()", "EOFError()", "AssertionError", "RecursionError()",
         "KeyboardInterrupt()", "KeyError('x' * 10**6)"],
    )  # fmt: skip
    def test_an_unforeseen_exception_is_status_3(self, call, net, error):
        arguments = ["analyze", net, "--model", "chain"]
        line = call(*arguments, broken=error).refused("defect", "--traceback", status=3)
        assert len(line) < 1000
        shown = call(*arguments, "--traceback", broken=error)
        assert shown.status == 3 and "in broken" in shown.err and shown.err.splitlines()[-1] == line.strip()
        assert call("--traceback", *arguments, broken=error).err.splitlines()[-1] == line.strip()

    def test_memory_that_does_not_suffice_is_no_defect(self, call, net):
        call("analyze", net, "--model", "chain", broken="MemoryError()").refused("memory must suffice")


class TestInputs:
    @pytest.mark.parametrize(
        "shape",
        [
            "1x3x9999999999", "1x3x99999999999999999999", "1x" + "9" * 5000, "1x\uff18x\uff18", "\u0661x8x8", "1x0x8", "1x-8x8",
            "1x30000x30000", "int:1x30000x30000", "", "x", "8xx", "1 x8", "+1x8", "0x10", "complex:8", "x".join(["1"] * 5000),
            "1x8x8\n", "²x8",
        ],
    )  # fmt: skip
    def test_shapes(self, call, shape):
        outcome = call("analyze", *DIGITS[:3], "--input", shape)
        outcome.refused("an input", "--input")
        assert outcome.grown < 300

    def test_a_wrong_shape_does_not_advise_a_batch_axis(self, call):
        line = call("analyze", *DIGITS[:3], "--input", "1x9x9").refused("give --input")
        assert "batch" not in line and "example_inputs" not in line


IMAGES, LABELS = data.digits("train")
X, Y = IMAGES[:8], LABELS[:8]
WRONG = {
    "x 0-d": {"x": np.float32(1), "y": Y},
    "y 0-d": {"x": X, "y": np.int64(1)},
    "both 0-d": {"x": np.float32(1), "y": np.int64(1)},
    "lengths": {"x": X, "y": Y[:5]},
    "empty": {"x": X[:0], "y": Y[:0]},
    "shape": {"x": X[:, :, :5], "y": Y},
    "out of range": {"x": X, "y": Y + 100},
    "negative": {"x": X, "y": Y - 50},
    "y float": {"x": X, "y": Y.astype(np.float32)},
    "y 2-d": {"x": X, "y": np.stack([Y, Y], 1)},
    "y nan": {"x": X, "y": np.full(8, np.nan)},
    "x nan": {"x": X * np.nan, "y": Y},
    "x int": {"x": X.astype(np.int64), "y": Y},
    "x bool": {"x": X > 0, "y": Y},
    "x uint16": {"x": X.astype(np.uint16), "y": Y},
    "x complex": {"x": X.astype(complex), "y": Y},
    "x text": {"x": np.array(["a"] * 8), "y": Y},
    "x objects": {"x": np.array([object()] * 8), "y": Y},
    "x dates": {"x": np.zeros(8, "M8[s]"), "y": Y},
    "x structured": {"x": np.zeros(8, [("a", "f4")]), "y": Y},
    "no y": {"x": X},
    "other names": {"a": X, "b": Y},
}


class TestData:
    @pytest.mark.parametrize("kind", WRONG)
    @pytest.mark.parametrize("method", ["snip", "grasp"])
    def test_a_wrong_archive(self, call, tmp_path, method, kind):
        np.savez(tmp_path / "data.npz", **WRONG[kind])
        arguments = ["--method", method, "--compression", "100", "--data", tmp_path / "data.npz"]
        outcome = call("prune", *DIGITS, *arguments, "--out", tmp_path / "out.pt")
        line = outcome.refused("must" if "nan" not in kind else "")
        assert "data=" not in line and "iterable" not in line and files(tmp_path) == {"data.npz"}

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"x,y\n1,2\n", None])
    def test_no_archive(self, call, tmp_path, content):
        file = tmp_path / "data.npz"
        file.mkdir() if content is None else file.write_bytes(content)
        arguments = ["--method", "snip", "--compression", "100", "--data", file, "--out", tmp_path / "out.pt"]
        call("prune", *DIGITS, *arguments).refused("npz")
        arguments[5] = tmp_path / "nowhere.npz"
        call("prune", *DIGITS, *arguments).refused("No such file")

    def test_a_method_that_needs_data_says_which_option(self, call, tmp_path):
        arguments = ["--method", "snip", "--compression", "9", "--out", tmp_path / "o.pt"]
        line = call("prune", *DIGITS, *arguments).refused("--data")
        assert "data=" not in line and "iterable" not in line


class TestWriting:
    @pytest.mark.parametrize("name", ["missing/c.csv", ".", "x" * 300 + ".csv", "file/c.csv"])
    @pytest.mark.parametrize("option", ["--csv", "--json", "--html"])
    def test_where_nothing_can_be_written(self, call, net, name, option):
        (net.parent / "file").touch()
        curve = ["curve", net, "--model", "chain", "--method", "magnitude"]
        command = curve if option == "--csv" else ["analyze", net, "--model", "chain"]
        call(*command, option, net.parent / name).refused("must be one that can be written")
        assert files(net.parent) == {"net.pt", "file"}

    def test_curves_are_written_in_one_step(self, call, tmp_path):
        target = tmp_path / "curve.csv"
        target.write_text("the old one")
        arguments = ["curve", *DIGITS, "--method", "magnitude", "--csv", target]
        call(*arguments, file_size=4096).refused("File too large")
        assert target.read_text() == "the old one" and files(tmp_path) == {"curve.csv"}
        call(*arguments).answered()
        assert set(pandas.read_csv(target)["method"]) == {"magnitude"}

    @pytest.mark.parametrize(
        ("form", "name"),
        [
            ("zeros", "o.pt"), ("prune", "o.pt"), ("parametrization", "o.pth"), ("openlth", "o.pt"), ("zeros", "o.safetensors"),
            ("bits", "o.safetensors"), ("csr", "o.npz"),
        ],
    )  # fmt: skip
    def test_a_full_disk(self, call, tmp_path, form, name):
        target = tmp_path / name
        target.write_text("the old one")
        arguments = ["convert", DIGITS[0], target, "--to", form]
        call(*arguments, file_size=1500).refused("File too large")
        assert target.read_text() == "the old one" and files(tmp_path) == {name}

    @pytest.mark.parametrize("name", ["y.pt2", "y.exe", "y.npz", "y.json"])
    def test_an_ending_that_does_not_fit_is_refused_before_the_work(self, call, net, name):
        target = net.parent / name
        call("prune", "nowhere.pt", "--model", "chain", "--compression", "6", "--out", target).refused(".safetensors")
        call("convert", "nowhere.pt", target, "--to", "zeros").refused(".safetensors")

    def test_a_protected_file_is_not_replaced(self, call, net):
        target = net.parent / "out.json"
        target.write_text("{}")
        target.chmod(0o444)
        command = [sys.executable, "-c", AS_NOBODY, str(target)]
        os.chmod(net.parent, 0o777)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert "may not write to" in done.stdout, done
        assert target.read_text() == "{}"


AS_NOBODY = """
import os, sys
from graphsparse.checkpoints.atomic import replacing
import ctypes
if os.getuid() == 0:
    # without the capability to write anywhere; the folders above may be closed to anybody else, so root stays root
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
    class Header(ctypes.Structure): _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
    data = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capset(ctypes.byref(Header(0x20080522, 0)), data)
try:
    with replacing(sys.argv[1]) as file:
        file.write(b"new")
except ValueError as error:
    print(error)
"""


class TestLeftovers:
    def leftovers(self, target: Path) -> list[Path]:
        return [path for path in target.parent.iterdir() if path.name.endswith(".part")]

    def writer(self, target: Path) -> subprocess.Popen:
        code = (
            "import sys, time\nfrom graphsparse.checkpoints.atomic import replacing\n"
            "with replacing(sys.argv[1]) as file:\n"
            "    file.write(b'x' * 10**6)\n    print('writing', flush=True)\n    time.sleep(60)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "writing\n"
        return process

    def test_those_of_killed_writers_are_collected(self, call, net):
        target = net.parent / "out.json"
        killed, alive = self.writer(target), self.writer(target)
        killed.kill()
        killed.wait()
        call("analyze", net, "--model", "chain", "--json", target).answered()
        assert len(self.leftovers(target)) == 1  # that of the writer that lives
        alive.kill()
        alive.wait()
        call("analyze", net, "--model", "chain", "--json", target).answered()
        assert not self.leftovers(target)

    def test_files_of_others_stay(self, call, net):
        target = net.parent / "out.json"
        others = {".out.json.part", "out.json.part", ".out.json.abcdefgh.part", ".other.json.graphsparse-01234567.part"}
        for name in others:
            (net.parent / name).touch()
        (net.parent / ".out.json.graphsparse-01234567.part").touch()
        call("analyze", net, "--model", "chain", "--json", target).answered()
        assert files(net.parent) == others | {"net.pt", "out.json"}

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_a_signal_ends_in_good_order(self, net, name):
        number = getattr(signal, name)
        pipe = net.parent / "pipe.csv"
        os.mkfifo(pipe)
        code = (
            "import time\nfrom torch import nn\ndef build():\n    print('here')\n"
            "    open('begun', 'w').close()\n    time.sleep(60)\n"
        )
        (net.parent / "slow_nets.py").write_text(code)
        command = [sys.executable, "-m", "graphsparse", "analyze", str(net), "--model", "slow_nets:build"]
        process = subprocess.Popen(
            [*command, "--input", "3", "--json", "out.json"],
            cwd=net.parent,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: answering(number),
        )
        until((net.parent / "begun").exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        said = "interrupted" if name == "SIGINT" else f"stopped by {name}"
        assert (process.returncode, out, err) == (128 + number, "", f"graphsparse: {said}\n")
        assert not (net.parent / "out.json").exists() and not self.leftovers(pipe)


class TestKept:
    """What an atomic write keeps of the old file."""

    def test_permissions_owner_and_attributes(self, call, net):
        target = net.parent / "out.json"
        target.write_text("old")
        target.chmod(0o640)
        attributes = True
        try:
            os.setxattr(target, "user.note", b"kept")
        except OSError:
            attributes = False
        if os.getuid() == 0:
            os.chown(target, 12345, 23456)
        old = target.stat()
        call("analyze", net, "--model", "chain", "--json", target).answered()
        new = target.stat()
        assert (new.st_mode, new.st_uid, new.st_gid) == (old.st_mode, old.st_uid, old.st_gid)
        assert new.st_ino != old.st_ino and target.read_text().startswith("{")
        assert not attributes or os.getxattr(target, "user.note") == b"kept"

    def test_the_umask_is_never_touched(self, tmp_path):
        from graphsparse.checkpoints.atomic import replacing

        modes, stop = set(), threading.Event()

        def others() -> None:
            while not stop.is_set():
                path = tmp_path / "other"
                os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o666))
                modes.add(stat.S_IMODE(path.stat().st_mode))
                path.unlink()

        umask, seen = os.umask, []
        os.umask = lambda mask: seen.append(mask) or umask(mask)
        try:
            before = umask(0o027)
            with replacing(tmp_path / "new") as file:
                file.write(b"new")
        finally:
            umask(before)
            os.umask = umask
        assert not seen and stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


class TestInstallation:
    def test_a_read_only_one_without_a_home(self, tmp_path):
        """numba asks for a place by making a file there; here none can be made, as on a read-only file system."""
        environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
        environment["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *sys.path])
        for name, expected in (("temporary", "True"), ("nowhere", "False")):
            folder = tmp_path / name
            if name == "temporary":
                folder.mkdir()
            (tmp_path / "script.py").write_text(READ_ONLY)
            command = [sys.executable, str(tmp_path / "script.py"), str(folder)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
            assert done.stdout.split() == [expected, "20"]
            assert bool(list(folder.rglob("*.nbi"))) == (expected == "True")

    def test_a_folder_that_another_prepared_is_not_used(self, tmp_path, monkeypatch):
        from graphsparse.kernels import cache

        monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))  # type: ignore[attr-defined]
        folder = cache._private_folder()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and cache._private_folder() == folder
        folder.chmod(0o777)
        assert cache._private_folder() is None
        folder.rmdir()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
        assert cache._private_folder() is None


READ_ONLY = """
import sys, tempfile
import numba.core.caching as caching

def refuse(self):
    raise OSError("read-only")

for name, found in vars(caching).items():
    if "Locator" in name and ("InTree" in name or "UserWide" in name):
        found.ensure_cache_path = refuse
tempfile.gettempdir = lambda: sys.argv[1]
from graphsparse.kernels.compiling import compiled
import numpy as np

@compiled
def total(values):
    result = 0
    for value in values:
        result += value
    return result

print(bool(total._cache.cache_path), total(np.array([2, 18])))
"""

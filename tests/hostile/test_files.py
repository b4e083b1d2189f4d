"""Checkpoint files that attack: refused in one line or read right; nothing run or made; memory and time bounded."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import pytest
import torch

import graphsparse as gs
from graphsparse.checkpoints import convert, read_checkpoint, write_masks_file
from graphsparse.errors import CheckpointError, GraphsparseError
from tests.hostile import rows
from tests.hostile.forked import Outcome

SECONDS = 5  # of processor time
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and measures memory as Linux does")


def fault(outcome: Outcome, path: str, expected: str | int) -> str:
    """What is wrong with an outcome, or nothing."""
    lines, made = outcome.err.splitlines(), set(outcome.made) - {"converted"}
    if made:
        return f"made {made}"
    if outcome.seconds > SECONDS or outcome.status < 0:
        return f"status {outcome.status} after {outcome.seconds:.1f} s"
    if outcome.grown > max(64, 4 * os.stat(os.fsencode(path)).st_size / rows.MEGABYTE):
        return f"{outcome.grown:.0f} MB"
    if isinstance(expected, int):
        right = outcome.status == 0 and re.search(rf"\b({expected}|{expected:,})\b", outcome.out[-2000:]) and not lines
        return "" if right else f"{outcome.status} {outcome.out[:300]} {outcome.err[:300]}"
    one_line = outcome.status == 2 and len(lines) == 1 and len(outcome.err) < 2500 and not outcome.out
    return "" if one_line and expected in lines[0] else f"{outcome.status} {outcome.err[:400]}"


KINDS = (rows.memory, rows.unpickled, rows.expanded, rows.zips, rows.names, rows.odd)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory, call):
    """{kind of row: {case: what is wrong with it}}."""
    folder = tmp_path_factory.mktemp("attacks")
    found: dict[str, dict[str, str]] = {}
    for kind, path, command, expected in (*_read_cases(folder), *_converted_cases(folder), *_other_cases(folder)):
        outcome = call(*command, memory=True, seconds=SECONDS)
        found.setdefault(kind, {})[f"{Path(path).name} {command[0]}"] = fault(outcome, path, expected)
    return found


def _read_cases(folder):
    for kind in KINDS:
        for name, content, expected in kind():
            path = str(folder / name)
            Path(path).write_bytes(content)
            yield kind.__name__, path, ["masks", path], expected
            form = "zeros" if kind is rows.memory else "bits"
            yield kind.__name__, path, ["convert", path, "converted", "--to", form], expected
            if kind is rows.names:
                yield kind.__name__, path, ["report", path], expected
                unlike = "none of" if isinstance(expected, int) else expected
                yield kind.__name__, path, ["masks", path, "other.weight", "[2, 2]"], unlike


def _converted_cases(folder):
    for name, content, form, expected in rows.written():
        path = folder / f"to-{name}"
        path.write_bytes(content)
        yield "written", path, ["convert", str(path), "converted", "--to", form], expected


def _other_cases(folder):
    deep = folder / "deep.safetensors"
    deep.write_bytes(rows.c.floats(["a." * 300 + "weight"]))
    yield "other", deep, ["analyze", str(deep), "--model", "chain"], "at most 64 deep"
    strange = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.pt")
    Path(strange).write_bytes(rows.torch_bytes({"a.weight": torch.ones(2, 2)}))
    yield "other", strange, ["masks", strange], 4
    many = folder / "thousands.pt"
    torch.save({f"layer{i}.weight": torch.ones(3, 3) for i in range(10_000)}, many)
    yield "other", many, ["report", str(many)], 90000


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [*(kind.__name__ for kind in KINDS), "written", "other"])
def test_files_that_attack(wrong, kind):
    assert wrong[kind]
    text = "\n".join(f"{name}: {text}" for name, text in wrong[kind].items() if text)
    assert not text, text


def test_one_inert_class_is_read_as_data(tmp_path):
    hyper = argparse.Namespace(lr=0.1, layers=[1, 2], nested=argparse.Namespace(deep=True))
    for options in ({}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}):
        torch.save({"hyper_parameters": hyper, "state_dict": {"fc.weight": torch.eye(3)}}, tmp_path / "x.pt", **options)
        checkpoint = read_checkpoint(tmp_path / "x.pt")
        assert checkpoint.masks["fc.weight"].sum() == 3 and list(checkpoint.masks) == ["fc.weight"]


def test_no_other_class_is(tmp_path):
    class Sub(argparse.Namespace):
        pass

    Sub.__qualname__, Sub.__module__ = "Path", "pathlib"
    content = rows.c.state({"a": rows.c.new("pathlib.Path"), "b.weight": rows.c.tensor([1], [1])})
    (tmp_path / "x.pt").write_bytes(rows.c.torch_zip(content))
    with pytest.raises(CheckpointError, match=r"asks for pathlib\.Path"):
        read_checkpoint(tmp_path / "x.pt")


def test_a_message_has_a_length():
    error = GraphsparseError("a rule", place="p" * 10**6, received="r" * 10**6, way_out="go")
    assert len(str(error)) < 1000 and str(error).startswith("a rule, at ppp") and "ppp; received rrr" in str(error)


def test_memory_of_the_process_is_in_no_file(tmp_path):
    """A file that asks for tensors of a size is refused before anything is written."""
    for name, content, _ in rows.memory():
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(CheckpointError):
            gs.read_masks(tmp_path / "x.pt")


def test_nothing_to_count_has_one_definition(tmp_path):
    from graphsparse.checkpoints import open_checkpoint
    from graphsparse.reports.report import report_without_model

    write_masks_file(tmp_path / "none.safetensors", {"a.weight": torch.ones(0, 3, dtype=torch.bool)}, form="bits")
    report = report_without_model(open_checkpoint(tmp_path / "none.safetensors"))
    assert report.summary["direct_sparsity"] == 0.0 and report.summary["direct_compression"] == 1.0
    assert list(report.frame["direct"]) == [0.0]


@pytest.mark.parametrize("name", ["net.pt", "net.pt2"])
def test_conversion_compares_the_check_sums_of_zip_files(tmp_path, name):
    """A flipped bit in a weight: `convert` reads all of the file and refuses it; to read masks nothing is compared."""
    torch.manual_seed(0)
    layer, path = torch.nn.Linear(64, 60), tmp_path / name
    if name.endswith("2"):
        torch.export.save(torch.export.export(layer, (torch.zeros(1, 64),)), path)
    else:
        torch.save(layer.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[content.find(layer.weight.detach().numpy().tobytes()[400:440]) + 1] ^= 1
    path.write_bytes(content)
    for form, target in (("zeros", "o.pt"), ("bits", "o.safetensors"), ("csr", "o.npz")):
        with pytest.raises(CheckpointError, match="check sum of its bytes"):
            convert(path, tmp_path / target, form)
        assert not (tmp_path / target).exists()
    assert gs.read_masks(path)["weight"].all()

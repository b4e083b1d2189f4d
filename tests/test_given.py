"""Inputs beside a captured program, names of sources that are none, and tables of very many rows."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console
from torch import nn

import graphsparse as gs
from graphsparse import cli
from graphsparse.errors import CaptureError
from graphsparse.reports import terminal


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 2)

    def forward(self, x, scale=None):
        return self.body(x) * (1 if scale is None else scale)


def program(**named):
    return torch.export.export(Two().eval(), (torch.zeros(1, 3),), named, strict=False)


@pytest.mark.parametrize("call", [gs.export, gs.network, gs.analyze])
def test_inputs_beside_a_program_must_be_those_it_was_captured_with(call):
    found = call(program(), torch.ones(1, 3))
    assert found is not None
    for wrong in (torch.zeros(1, 4), torch.zeros(1, 3, dtype=torch.int64), (torch.zeros(1, 3),) * 2, torch.zeros(3), 5):
        with pytest.raises(CaptureError, match=r"must be those that it was captured with: \(1, 3\) float32; received"):
            call(program(), wrong)


def test_inputs_of_a_program_by_name_and_of_open_sizes():
    scaled = program(scale=torch.ones(1, 2))
    assert gs.export(scaled, torch.zeros(1, 3), kwargs={"scale": torch.zeros(1, 2)}).n_connections == 6
    with pytest.raises(CaptureError, match="captured with"):
        gs.export(scaled, torch.zeros(1, 3))
    batch = torch.export.Dim("batch", min=2, max=64)
    free = torch.export.export(Two().eval(), (torch.zeros(4, 3),), dynamic_shapes={"x": {0: batch}})
    assert gs.export(free, torch.zeros(9, 3)).n_connections == 6
    with pytest.raises(CaptureError, match="captured with"):
        gs.export(free, torch.zeros(9, 2))


def test_an_archive_at_the_command_line_takes_its_own_inputs_alone(tmp_path, capsys):
    torch.export.save(program(), tmp_path / "net.pt2")
    for shape, status in (("3", 0), ("7", 2)):
        with pytest.raises(SystemExit) as end:
            cli.main(["analyze", str(tmp_path / "net.pt2"), "--input", shape])
        err = capsys.readouterr().err
        assert end.value.code == status and ("(1, 3) float32; received (1, 7)" in err) == bool(status)


@pytest.mark.parametrize("sources", [5, [5], [["x"]], {1: "x"}])
def test_sources_must_be_names(sources):
    rule = "sources must be names of the model's inputs; received"
    with pytest.raises(CaptureError, match=rule):
        gs.export(Two(), torch.zeros(1, 3), sources=sources)
    with pytest.raises(CaptureError, match=rule):
        gs.analyze(Two(), torch.zeros(1, 3), sources=sources)
    masks = {"a.weight": torch.ones(3, 2) > 0}
    for many in (gs.compare, gs.track):
        with pytest.raises(CaptureError, match=rule):
            many({"1": masks, "2": masks} if many is gs.compare else {1: masks}, "chain", sources=sources)


def test_names_may_come_one_by_one():
    """They are read for the report and for the page that says how it was made."""
    report = gs.analyze(Two(), (torch.zeros(1, 3), torch.zeros(1, 1)), sources=iter(["x"]))
    assert [each.taken for each in report.inputs] == ["source", "constant"]
    tensors = {"a.weight": torch.eye(3), "b.weight": torch.eye(4)}
    assert list(gs.analyze(tensors, "none", ignore=iter(["b.*"])).rows) == ["a.weight"]


def shown(report, width: int) -> str:
    screen = io.StringIO()
    terminal.show(report, Console(file=screen, width=width, force_terminal=True, color_system=None))
    return screen.getvalue()


def rows(text: str) -> list[list[str]]:
    found = [line.split() for line in text.splitlines()]
    return [words for words in found if words[1:2] not in ([], [">"]) and words[0].startswith(("parameter", "layer"))]


@pytest.mark.parametrize("model", ["chain", "none"])
def test_long_tables_say_what_short_ones_do(model, monkeypatch):
    report = gs.analyze({f"layer{n}.weight": torch.eye(4) for n in range(6)}, model)
    drawn = shown(report, 200)
    monkeypatch.setattr(terminal, "MANY", 3)
    plain, narrow = shown(report, 200), shown(report, 45)
    assert "─" in drawn and "─" not in plain
    assert rows(plain) == rows(drawn) and len(rows(plain)) == 7
    assert set(rows(narrow)[0]) < set(rows(plain)[0]) and len(rows(narrow)) == 7
    assert max(len(line) for line in narrow.splitlines() if "layer" in line) <= 45
    assert plain.splitlines()[-2:] == drawn.splitlines()[-2:]


def test_inputs_that_are_longer_than_a_table_are_refused_in_words():
    class Placed(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.body = nn.Embedding(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.body(x + self.table(torch.arange(x.shape[1])))

    with torch.device("meta"):
        model = Placed()
    with pytest.raises(
        CaptureError, match=r"at table; received aten.embedding.default of a parameter of shape \(5, 4\)"
    ):
        gs.export(model, torch.zeros(1, 9, 4))


def test_a_program_without_example_inputs_takes_those_that_are_given(tmp_path):
    bare = program(scale=torch.ones(1, 2))
    bare._example_inputs = None
    torch.export.save(bare, tmp_path / "bare.pt2")
    given = {"example_inputs": torch.zeros(1, 3), "kwargs": {"scale": torch.zeros(1, 2)}}
    for call in (gs.export, gs.analyze, gs.network):
        with pytest.raises(
            CaptureError, match="must have example inputs, at the program; received none. Way out: give"
        ):
            call(bare)
        assert call(bare, **given) is not None and bare.example_inputs is None
    with pytest.raises(CaptureError, match="must be those that it was captured with"):
        gs.export(bare, torch.zeros(1, 3))
    with pytest.raises(CaptureError, match="must be arranged as those that it was captured with"):
        gs.export(bare, (torch.zeros(1, 3), torch.zeros(1, 2)))
    report = gs.analyze(tmp_path / "bare.pt2", **given)
    assert report.graph.n_connections == gs.export(program(scale=torch.ones(1, 2))).n_connections == 6


def test_an_archive_without_example_inputs_at_the_command_line(tmp_path, capsys):
    bare = program()
    bare._example_inputs = None
    torch.export.save(bare, tmp_path / "bare.pt2")
    for options, status in (([], 2), (["--input", "3"], 0)):
        with pytest.raises(SystemExit) as end:
            cli.main(["analyze", str(tmp_path / "bare.pt2"), *options])
        err = capsys.readouterr().err
        assert end.value.code == status and ("must have example inputs" in err and "--input" in err) == bool(status)

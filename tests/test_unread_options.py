"""An option that would have no effect is refused in one line; and which options are read whatever stands beside them."""

from __future__ import annotations

import inspect

import pytest
import torch

import graphsparse as gs
from graphsparse import cli
from graphsparse.cli import app, beside
from graphsparse.cli.groups import flat
from graphsparse.errors import ModelError

ALWAYS = {
    "checkpoint", "checkpoints", "run", "source", "target", "kind", "out", "to", "json", "csv", "parquet", "html", "plot",
    "select", "metrics", "seed", "data", "force", "no_cache", "cache", "trust_sizes", "processes", "method", "methods", "fail_under", "fail_if", "verify", "effective", "sparsity", "points",
    "sidecar", "jobs", "cluster", "causes", "deaths", "title", "inches", "round_to", "keep",
}  # fmt: skip
"""What every mode of its commands reads, or refuses with an error of its own; and what changes no number anywhere."""
LATER = {("topology", "encoding"), ("prune", "compression"), ("curve", "compression"), ("track", "pattern")}
"""Read by some metrics; a target there; where methods in rounds end; where all of a run is named by steps."""


def test_every_option_says_what_reads_it():
    for command in app.app.registered_commands:
        function = command.callback
        parameters, _ = flat(inspect.unwrap(function))
        for each in parameters:
            told = any(isinstance(rule, beside.Beside) for rule in getattr(each.annotation, "__metadata__", ()))
            always = each.name in ALWAYS or (function.__name__, each.name) in LATER
            assert told != always, f"{function.__name__} {each.name}"


@pytest.mark.parametrize(("line", "option", "instead"), [
    ("analyze NET --model none --resolution channel", "--resolution", "--model none"),
    ("analyze NET --model none --input 3x9", "--input", "--model none"),
    ("analyze NET --model none --norm-statistics", "--norm-statistics", "--model none"),
    ("analyze NET --model none --source x", "--source", "--model none"),
    ("analyze NET --model none --model-arg a=1", "--model-arg", "--model none"),
    ("analyze NET NET --model chain --model-arg a=1", "--model-arg", "--model chain"),
    ("analyze net.pt2 --key x", "--key", "net.pt2, a program"),
    ("topology net.pt2 --ignore x", "--ignore", "net.pt2, a program"),
    ("track net.pt2 --prefix x", "--prefix", "net.pt2, a program"),
    ("compare net.pt2 net.pt2 --model-arg a=1", "--model-arg", "net.pt2"),
    ("convert NET OUT.safetensors --to bits --weights NET", "--weights", "--to bits"),
    ("plot density NET --model chain --out OUT.png --parameter a.weight", "--parameter", "density"),
    ("plot degrees NET --model chain --out OUT.png --order degree", "--order", "degrees"),
    ("plot comparison NET NET --model chain --out OUT.png --pattern x{step}", "--pattern", "comparison"),
    ("plot trajectory run.csv --out OUT.png --model chain", "--model", "the table run.csv"),
    ("plot trajectory run.csv --out OUT.png --pattern x{step}", "--pattern", "the table run.csv"),
])  # fmt: skip
def test_an_option_without_effect_is_refused(capsys, tmp_path, monkeypatch, line, option, instead):
    monkeypatch.chdir(tmp_path)
    torch.save({"a.weight": torch.eye(3), "b.weight": torch.ones(2, 3)}, "net.pt")
    with pytest.raises(SystemExit) as stop:
        cli.main(line.replace("NET", "net.pt").split())
    said = capsys.readouterr()
    assert stop.value.code == 2 and not said.out and len(said.err.splitlines()) == 1
    assert said.err.startswith(f"graphsparse: {option} must stand beside ")
    assert said.err.endswith(f"; received {instead}. Way out: leave it out.\n")
    assert [file.name for file in tmp_path.iterdir()] == ["net.pt"]


@pytest.mark.parametrize("line", [
    "analyze NET --model chain --resolution channel --norm-statistics",
    "analyze NET --model none --form zeros --key model --no-cache --trust-sizes",
    "prune NET --key model --model chain --sparsity 0.5 --direct --out OUT.pt --method lamp --seed 3",
    "curve NET --model chain --csv OUT.csv --method synflow --method lamp --compression 2 --seed 0",
    "export NET --model chain --out OUT.npz --force",
])  # fmt: skip
def test_an_option_that_is_read_is_not(capsys, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"a.weight": torch.eye(3), "b.weight": torch.ones(2, 3)}}, "net.pt")
    with pytest.raises(SystemExit) as stop:
        cli.main(line.replace("NET", "net.pt").split())
    assert not stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize("given", [
    {"resolution": "channel"}, {"norm_statistics": True}, {"example_inputs": torch.ones(1, 3)}, {"sources": ["x"]},
    {"verify": True},
])  # fmt: skip
def test_in_python_too(given):
    with pytest.raises(ModelError, match=f"{next(iter(given))}=.* must have a network"):
        gs.analyze({"a.weight": torch.eye(3)}, "none", **given)

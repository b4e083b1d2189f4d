"""The command line as a user calls it: tables, JSON, exit statuses, one line for bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from graphsparse import cli, data, demo

MLP = ["analyze", str(data.path("digits-mlp-200x.pt")), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_analyze_prints_the_table(capsys):
    status, out, err = run(capsys, *MLP)
    assert status == 0 and not err
    assert "fc2.weight" in out and "starved" in out and "251 of 50,200 kept" in out and "202 of 50,200 active" in out


@pytest.mark.parametrize(("limit", "status"), [("248", 0), ("249", 1)])
def test_fail_under(capsys, limit, status):
    found, _, err = run(capsys, *MLP, "--fail-under", limit)
    assert found == status and (("248.51 is under 249" in err) == bool(status))


def test_json_to_output_and_to_a_file(capsys, tmp_path):
    _, out, _ = run(capsys, *MLP, "--json", "-")
    report = json.loads(out)
    assert report["summary"]["active"] == 202 and report["parameters"][0]["shape"] == [300, 64]
    run(capsys, *MLP, "--json", str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text()) == report


def test_collapse_has_no_infinity_in_json(capsys):
    _, out, _ = run(
        capsys, "analyze", str(data.path("digits-conv-200x.pt")), "--model", "graphsparse.zoo:digits_conv", "--input",
        "1x8x8", "--json", "-",
    )  # fmt: skip
    report = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert report["summary"]["effective_compression"] is None and "Collapsed" in report["notes"][0]


def test_a_page(capsys, tmp_path):
    run(capsys, *MLP, "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert "fc1.weight" in page and "300 x 64" in page and "{{" not in page


def test_chain_needs_no_model_and_says_the_same(capsys):
    _, out, _ = run(capsys, MLP[0], MLP[1], "--model", "chain", "--json", "-")
    assert json.loads(out)["summary"]["active"] == 202
    status, _, err = run(capsys, "analyze", str(data.path("digits-conv-50x.safetensors")), "--model", "chain")
    assert status == 2 and "resolution" in err
    _, out, _ = run(
        capsys, "analyze", str(data.path("digits-conv-50x.safetensors")), "--model", "chain", "--resolution", "channel", "--json", "-"
    )
    assert json.loads(out)["summary"]["active"] == 981


def test_none_says_that_effective_needs_a_model(capsys):
    status, out, _ = run(capsys, MLP[0], MLP[1], "--model", "none")
    assert status == 0 and "251 of 50,200 kept" in out and "needs a model" in out


def test_an_exported_program(capsys, tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight[1] = 0
    path = str(tmp_path / "net.pt2")
    torch.export.save(torch.export.export(model, (torch.zeros(1, 4),)), path)
    _, out, _ = run(capsys, "analyze", path, "--json", "-")
    assert json.loads(out)["summary"] | {"kept": 14, "active": 12} == json.loads(out)["summary"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["analyze", "nowhere.pt", "--model", "chain"], "a checkpoint can be read, at nowhere.pt"),
        (MLP[:2], "effective sparsity needs the network"),
        ([*MLP[:3], "graphsparse.zoo:nope", *MLP[4:]], "a model's factory can be imported"),
        ([*MLP[:3], "graphsparse.zoo:digits_conv", *MLP[4:]], "a checkpoint has the tensors of its model"),
        ([*MLP[:5], "8xx"], "an input's shape is whole numbers joined by x"),
        ([*MLP[:5], "3x9x9"], "the example inputs must be ones that the model's forward accepts"),
        (MLP[:4], "the example inputs must be ones that the model's forward accepts"),
        ([*MLP, "--resolution", "half"], "resolution is 'unrolled' or 'channel'"),
        ([*MLP, "--json", "/nowhere/out.json"], "a file can be written there"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(capsys, arguments, text):
    status, _, err = run(capsys, *arguments)
    assert status == 2 and text in err
    assert err.startswith("graphsparse: ") and len(err.strip().splitlines()) == 1


def test_convert(capsys, tmp_path):
    target = str(tmp_path / "out.safetensors")
    status, out, _ = run(capsys, "convert", str(data.path("digits-mlp-50x.pt")), target, "--to", "zeros")
    assert status == 0 and "1,004 kept" in out
    assert run(capsys, "convert", target, target, "--to", "nope")[0] == 2


def test_demo(capsys):
    assert demo.run()
    assert "same prediction: 500 of 500" in " ".join(capsys.readouterr().out.split())


def test_help_has_examples_and_module_runs():
    done = subprocess.run([sys.executable, "-m", "graphsparse", "analyze", "--help"], capture_output=True, text=True, check=True)
    assert "graphsparse analyze lenet.pt --model graphsparse.zoo:lenet300100" in " ".join(done.stdout.split())

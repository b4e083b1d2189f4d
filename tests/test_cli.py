"""The command line as a user calls it: tables, files, exit statuses, one line for bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import cli, data, demo, zoo
from graphsparse.cli.app import tree

DIGITS = ["analyze", str(data.path("digits-mlp-50x.pt")), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture()
def net(tmp_path):
    """3 > 4 > 2: of 6 kept connections 4 are active, so the effective compression is 20 / 4 = 5 (see test_report)."""
    first = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 3]])
    second = torch.tensor([[1.0, 5, 0, 0], [0, 0, 6, 0]])
    torch.save({"a.weight": first, "a.bias": torch.ones(4), "b.weight": second}, tmp_path / "net.pt")
    return str(tmp_path / "net.pt")


@pytest.fixture()
def dense(tmp_path):
    torch.save(zoo.build("digits_mlp", seed=1).state_dict(), tmp_path / "dense.pt")
    return [str(tmp_path / "dense.pt"), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]


class TestAnalyze:
    def test_prints_the_table(self, capsys, net):
        status, out, err = run(capsys, "analyze", net, "--model", "chain")
        assert status == 0 and not err
        assert re.search(r"a\.weight +4x3 +12 +3 +2 +0\.7500 +0\.8333 +4 +1 +1", out)
        assert "6 of 20 kept" in out and "4 of 20 active" in out and "compression 5.0x" in out

    @pytest.mark.parametrize(("limit", "status"), [("5", 0), ("5.01", 1), ("0", 0), ("inf", 1)])
    def test_fail_under(self, capsys, net, limit, status):
        found, _, err = run(capsys, "analyze", net, "--model", "chain", "--fail-under", limit)
        assert found == status and ("5.00 is under" in err) == bool(status)

    def test_json_to_output_and_to_a_file(self, capsys, net, tmp_path):
        _, out, _ = run(capsys, "analyze", net, "--model", "chain", "--json", "-")
        report = json.loads(out)
        assert report["summary"]["active"] == 4 and report["parameters"][0]["shape"] == [4, 3]
        run(capsys, "analyze", net, "--model", "chain", "--json", str(tmp_path / "out.json"))
        assert json.loads((tmp_path / "out.json").read_text()) == report

    def test_a_page(self, capsys, net, tmp_path):
        run(capsys, "analyze", net, "--model", "chain", "--html", str(tmp_path / "page.html"))
        page = (tmp_path / "page.html").read_text()
        assert "a.weight" in page and "4 × 3" in page and "{{" not in page

    def test_a_real_checkpoint_by_its_model_and_as_a_chain(self, capsys):
        _, named, _ = run(capsys, *DIGITS, "--json", "-")
        _, chained, _ = run(capsys, *DIGITS[:2], "--model", "chain", "--json", "-")
        assert json.loads(named)["parameters"] == json.loads(chained)["parameters"]
        assert json.loads(named)["summary"]["kept"] == 1004

    def test_a_chain_of_convolutions_has_channels_only(self, capsys):
        file = str(data.path("digits-conv-50x.safetensors"))
        status, _, err = run(capsys, "analyze", file, "--model", "chain")
        assert status == 2 and "resolution" in err
        _, out, _ = run(capsys, "analyze", file, "--model", "chain", "--resolution", "channel", "--json", "-")
        named = ["--model", "graphsparse.zoo:digits_conv", "--input", "1x8x8", "--resolution", "channel", "--json", "-"]
        _, same, _ = run(capsys, "analyze", file, *named)
        assert json.loads(out)["summary"]["active"] == json.loads(same)["summary"]["active"]

    def test_none_says_that_effective_needs_a_model(self, capsys, net):
        status, out, _ = run(capsys, "analyze", net, "--model", "none")
        assert status == 0 and "6 of 20 kept" in out and "needs a model" in out and "active" not in out

    def test_arguments_reach_the_factory(self, capsys, tmp_path, monkeypatch):
        code = (
            "from torch import nn\ndef build(width, bias=True, name='x'):\n    return nn.Linear(3, width, bias=bias)\n"
        )
        (tmp_path / "own_nets.py").write_text(code)
        torch.save({"weight": 2 * torch.ones(7, 3)}, tmp_path / "net.pt")
        monkeypatch.chdir(tmp_path)
        given = ["--model-arg", "width=7", "--model-arg", "bias=False", "--model-arg", "name=y"]
        status, out, _ = run(capsys, "analyze", "net.pt", "--model", "own_nets:build", "--input", "3", *given)
        assert status == 0 and "21 of 21 kept" in out

    def test_tokens(self, capsys, tmp_path, monkeypatch):
        code = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2))\n"
        (tmp_path / "token_nets.py").write_text(code)
        table = torch.tensor([[1.0, 0, 0]] * 5)
        torch.save({"0.weight": table, "1.weight": 2 * torch.ones(2, 3), "1.bias": torch.ones(2)}, tmp_path / "net.pt")
        monkeypatch.chdir(tmp_path)
        status, out, _ = run(capsys, "analyze", "net.pt", "--model", "token_nets:build", "--input", "int:4")
        assert status == 0 and "11 of 21 kept" in out and "7 of 21 active" in out

    def test_an_exported_program(self, capsys, tmp_path):
        model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        with torch.no_grad():
            model[0].weight[1] = 0
        path = str(tmp_path / "net.pt2")
        torch.export.save(torch.export.export(model, (torch.zeros(1, 4),)), path)
        _, out, _ = run(capsys, "analyze", path, "--json", "-")
        summary = json.loads(out)["summary"]
        assert (summary["kept"], summary["active"]) == (14, 12)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["analyze"], "Missing argument"),
        (["analyze", "NET", "--nope"], "No such option"),
        (["nope"], "No such command"),
        (["analyze", "NET", "--model", "chain", "--fail-under", "much"], "Invalid value for '--fail-under'"),
        (["analyze", "NET", "--model", "chain", "--fail-under", "nan"], "a compression must be a number"),
        (["analyze", "NET", "--model", "none", "--fail-under", "2"], "--fail-under must have a network; received --model none"),
        (["analyze", "nowhere.pt", "--model", "chain"], "nowhere.pt; received No such file"),
        (["analyze", "NET"], "the network must be known for effective sparsity"),
        (["analyze", "NET", "--model", "nope"], "a model must be named as package.module:factory"),
        (["analyze", "NET", "--model", "graphsparse.zoo:nope"], "a model's factory must run when it is imported"),
        (["analyze", "NET", "--model", "graphsparse.zoo:lenet5", "--model-arg", "seed"], "a factory's argument must be KEY=VALUE"),
        ([*DIGITS[:3], "graphsparse.zoo:lenet300100", *DIGITS[4:]], "fc1.weight"),
        ([*DIGITS[:5], "8xx"], "an input's shape must be whole numbers joined by x"),
        ([*DIGITS[:5], "3x9x9"], "the example inputs must be ones that the model's forward accepts"),
        (DIGITS[:4], "the example inputs must be ones that the model's forward accepts"),
        ([*DIGITS, "--resolution", "half"], "a resolution must be unrolled or channel"),
        ([*DIGITS, "--json", "/nowhere/out.json"], "/nowhere/out.json"),
        ([*DIGITS, "--form", "nope"], "received 'nope'"),
        (["convert", "NET", "OUT.pt", "--to", "nope"], "received 'nope'"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt"], "give --sparsity or --compression"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt", "--compression", "20"], "the highest effective compression"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt", "--compression", "6", "--method", "nope"], "known name"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt", "--compression", "6", "--method", "snip"], "give --data"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt2", "--compression", "6"], "end the name in .safetensors"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt", "--compression", "6", "--to", "nni"], "only read"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt", "--compression", "1e5"], "compression 100,000. Way out: the highest"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt", "--sparsity", "0.99999"], "sparsity 0.99999. Way out: the highest"),
        (["prune", "NET", "--model", "chain", "--out", "OUT.pt", "--sparsity", "0.9", "--compression", "2"], "sparsity 0.9 and"),
        (["analyze", "NET", "--model", "chain", "--html", "-"], "what goes to standard output must be of --json or --csv"),
        (["analyze", "NET", "--model", "chain", "--select", "nope"], "at --select; received nope"),
        (["compact", "NET", "--model", "chain", "--out", "OUT", "--round-to", "0"], "--round-to must be a whole number"),
        (["compact", "NET", "--model", "chain", "--out", "OUT", "--keep", "nope"], "--keep must hold names of parameters"),
        (["analyze", "NET", "--model", "chain", "--form", "prune"], "none of the forms with signs. Way out: leave --form out"),
        (["analyze", "PRUNED", "--model", "none", "--form", "zeros"], "the signs of prune"),
        (["analyze", "PRUNED", "--model", "none", "--form", "parametrization"], "the signs of prune"),
        (["convert", "MASKS", "OUT.pt", "--to", "prune"], "give --weights, "),
        (["analyze", str(data.path("digits-conv-50x.safetensors")), "--model", "chain"], "take --resolution channel"),
        (["curve", "NET", "--model", "chain", "--method", "magnitude"], "a curve must go into a file"),
        (["curve", "NET", "--model", "chain", "--method", "magnitude", "--csv", "c.csv", "--points", "-3"], "for '--points'"),
        (["curve", "NET", "--model", "chain", "--method", "magnitude", "--plot", "OUT.exe"], "the name of a picture must end in .png"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(capsys, net, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    torch.save({"a.weight": torch.eye(3).int()}, tmp_path / "masks.pt")
    files = {"NET": net, "PRUNED": str(data.path("digits-mlp-50x.pt")), "MASKS": "masks.pt"}
    status, out, err = run(capsys, *(files.get(argument, argument) for argument in arguments))
    assert status == 2 and text in err and not out
    assert err.startswith("graphsparse: ") and len(err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("OUT*"))


class TestPrune:
    def test_to_an_effective_target(self, capsys, dense, tmp_path):
        out = str(tmp_path / "pruned.safetensors")
        target = ["--method", "igq-random", "--effective", "--compression", "100", "--seed", "3"]
        status, text, _ = run(capsys, "prune", *dense, *target, "--out", out)
        report = gs.analyze(out, "graphsparse.zoo:digits_mlp", torch.zeros(1, 1, 8, 8))
        assert status == 0 and report.summary["kept"] == report.summary["active"] and "100.0x" in text
        assert report.summary["active"] == 502

    def test_to_a_direct_target_tells_what_it_dropped(self, capsys, dense, tmp_path):
        out = str(tmp_path / "pruned.pt")
        target = ["--method", "random", "--direct", "--sparsity", "0.98", "--to", "prune"]
        status, text, _ = run(capsys, "prune", *dense, *target, "--out", out)
        state = torch.load(out, weights_only=True)
        kept = sum(int(tensor.sum()) for name, tensor in state.items() if name.endswith("_mask"))
        assert status == 0 and kept < 1004 and f"{1004 - kept:,} connections that rank as high are dead" in text

    def test_on_data(self, capsys, dense, tmp_path):
        images, labels = data.digits("train")
        np.savez(tmp_path / "train.npz", x=images[:64], y=labels[:64])
        target = ["--method", "snip", "--data", str(tmp_path / "train.npz"), "--compression", "20"]
        assert run(capsys, "prune", *dense, *target, "--out", str(tmp_path / "out.pt"))[0] == 0

    def test_a_chain_keeps_the_tensors_that_it_left_out(self, capsys, tmp_path):
        file, out = str(data.path("digits-conv-50x.safetensors")), str(tmp_path / "out.pt")
        chain = ["--model", "chain", "--resolution", "channel", "--compression", "80"]
        assert run(capsys, "prune", file, *chain, "--out", out)[0] == 0
        before = gs.read_masks(file)
        assert torch.load(out, weights_only=True).keys() >= before.keys()
        assert gs.analyze(out, "graphsparse.zoo:digits_conv", torch.zeros(1, 1, 8, 8)).summary["kept"] < 1124


def test_curve(capsys, dense, tmp_path):
    csv, plot = tmp_path / "curve.csv", tmp_path / "curve.png"
    methods = ["--method", "magnitude", "--method", "erk-random", "--points", "50"]
    status, out, _ = run(capsys, "curve", *dense, *methods, "--csv", str(csv), "--plot", str(plot))
    frame = pandas.read_csv(csv)
    assert status == 0 and str(plot) in out and plot.read_bytes().startswith(b"\x89PNG")
    for _, curve in frame.groupby("method"):
        assert (
            2 < len(curve) <= 52 and curve["kept"].is_monotonic_increasing and curve["active"].is_monotonic_increasing
        )
        assert (curve["active"] <= curve["kept"]).all() and curve["kept"].iloc[[0, -1]].tolist() == [1, 50200]
    assert set(frame["method"]) == {"magnitude", "erk-random"}


def test_convert_there_and_back(capsys, tmp_path):
    source, masks, back = (
        str(data.path("digits-mlp-50x.pt")),
        str(tmp_path / "m.safetensors"),
        str(tmp_path / "back.pt"),
    )
    status, out, _ = run(capsys, "convert", source, masks, "--to", "bits")
    assert status == 0 and "(prune)" in out and "1,004 kept" in out
    assert run(capsys, "convert", masks, back, "--to", "prune", "--weights", source)[0] == 0
    for name, mask in gs.read_masks(source).items():
        assert torch.equal(gs.read_masks(back)[name], mask)


@pytest.mark.parametrize("form", ["zeros", "prune"])
@pytest.mark.parametrize(
    "arguments",
    [["convert", "IN", "OUT"], ["prune", "IN", "--model", "chain", "--method", "random", "--direct", "--sparsity", "0", "--out", "OUT"]],
)  # fmt: skip
def test_kept_weights_that_read_as_pruned_are_told_on_one_line(call, tmp_path, form, arguments):
    """The mask keeps a weight that is zero: zeros cannot say so, and who converts is told; a mask of its own can."""
    weight = torch.ones(3, 4)
    weight[0, 0] = 0
    torch.save({"a.weight_orig": weight, "a.weight_mask": torch.ones(3, 4)}, tmp_path / "in.pt")
    paths = {"IN": str(tmp_path / "in.pt"), "OUT": str(tmp_path / "out.pt")}
    out = call(*(paths.get(each, each) for each in arguments), "--to", form).answered()
    lost = "a.weight: 1 kept connections are exactly zero and will read as pruned.\n"
    assert (lost in out) == (form == "zeros")
    assert int(gs.read_masks(tmp_path / "out.pt")["a.weight"].sum()) == 12 - (form == "zeros")


def test_the_methods_of_the_help_are_those_that_there_are():
    from graphsparse.cli.options import Methods
    from graphsparse.pruning.methods import METHODS

    plain, rules = Methods.split("; random/ or magnitude/ with ")
    named = re.split("[,;] ", plain)
    assert {*named, *(f"{order}/{rule}" for order in ("random", "magnitude") for rule in rules.split(", "))} == set(
        METHODS
    )


def test_demo(capsys):
    assert demo.run()
    out = capsys.readouterr().out
    assert "same prediction: 500 of 500" in out and "fc2.weight" in out and "stranded" in out


@pytest.mark.parametrize("name", list(tree().commands))
def test_the_help_of_every_command_has_examples(call, name):
    out = call(name, "--help").answered("Example")
    assert f"graphsparse {name}" in out.split("Example")[1]


def test_a_closed_pipe_is_no_traceback(call, net):
    done = call("analyze", net, "--model", "chain", stdout="unread")
    assert done.status == cli.BROKEN_PIPE == 141 and not done.err


def test_a_collapsed_network_passes_no_limit_and_draws_no_curve(capsys, tmp_path):
    collapsed = [str(data.path("digits-conv-200x.pt")), "--model", "graphsparse.zoo:digits_conv", "--input", "1x8x8"]
    status, _, err = run(capsys, "analyze", *collapsed, "--fail-under", "10")
    assert status == 1 and err == "nothing is active: the network has collapsed\n"
    status, _, err = run(capsys, "curve", *collapsed, "--method", "magnitude", "--csv", str(tmp_path / "c.csv"))
    assert status == 2 and "received a collapsed network" in err and not list(tmp_path.iterdir())


def test_version_and_short_help(capsys):
    assert run(capsys, "--version") == (0, f"graphsparse {gs.__version__}\n", "")
    for command in ([], ["analyze"], ["convert"]):
        status, out, _ = run(capsys, *command, "-h")
        assert status == 0 and "Usage: graphsparse" in out and "--traceback" in out
    status, out, _ = run(capsys, "--help")
    assert status == 0 and "--install-completion" in out and "--version" in out


def test_completion_knows_the_commands_and_the_module_runs():
    words = {"_GRAPHSPARSE_COMPLETE": "complete_bash", "COMP_WORDS": "graphsparse con", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "graphsparse"],
        env={**os.environ, **words}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["convert"] and not done.stderr


def listed_forms(text: str) -> dict[str, set[str]]:
    """{form: endings} of a text like "a, b (.x, .y); c (.z)"."""
    found: dict[str, set[str]] = {}
    for names, endings in re.findall(r"([a-z, -]+) \(([^)]*)\)", text.replace("masks alone:", "")):
        found |= {name.strip(): set(endings.split(", ")) for name in names.split(",") if name.strip()}
    return found


def test_help_and_docs_list_the_forms_as_they_are():
    from graphsparse.checkpoints import FORMS, endings, written_forms
    from graphsparse.cli.options import WRITTEN

    assert listed_forms(WRITTEN) == {form: set(endings(form)) for form in written_forms()}
    page = (data.path("README.md").parent.parent / "docs" / "checkpoints.md").read_text()
    section = page.partition("## Forms\n")[2].partition("\n## ")[0]
    rows = [row.split("|")[1:-1] for row in section.splitlines() if row.startswith("| `")]
    table = {row[0].strip(" `"): (row[3].strip(), set(filter(None, row[4].strip().split(", ")))) for row in rows}
    expected = {name: ("no" if form.write is None else "yes", set(endings(name))) for name, form in FORMS.items()}
    assert table == expected


def test_errors_speak_in_options():
    from graphsparse.cli.app import options
    from graphsparse.cli.wording import in_options
    from graphsparse.errors import MaskError

    known = options()
    assert known["example_inputs"] == "--input" and known["norm_statistics"] == "--norm-statistics"
    error = MaskError(
        "form= must fit",
        place="data=x.pt",
        received="form='b'",
        way_out="norm_statistics=True, width=64 or by_order=True",
    )
    text = "--form must fit, at data=x.pt; received form='b'. Way out: --norm-statistics, width=64 or by_order=True (in Python)."
    assert in_options(error, known) == text


def test_values_that_end_as_a_sentence_does_stand_in_quotes():
    from graphsparse.cli.wording import in_options
    from graphsparse.errors import CheckpointError

    for value, shown in (
        ("net.", "'net.'"),
        ("criterion.*", "'criterion.*'"),
        ("nets/G", "nets/G"),
        ("a.weight", "a.weight"),
    ):
        error = CheckpointError("a rule", way_out=f"take one part: prefix={value!r}")
        assert in_options(error, {"prefix": "--prefix"}) == f"a rule. Way out: take one part: --prefix {shown}."


def test_a_form_that_is_not_written_is_answered_with_those_that_are(capsys, net, tmp_path):
    from graphsparse.checkpoints import written_forms

    for form in ("nope", "nncf"):
        status, _, err = run(capsys, "convert", net, str(tmp_path / "o.pt"), "--to", form)
        assert status == 2 and err.endswith(f"Way out: use one of {', '.join(written_forms())}.\n")


def test_operations_without_a_rule_are_one_line(capsys, tmp_path, monkeypatch):
    code = "from torch import nn, linalg\nclass Net(nn.Linear):\n    def forward(self, x):\n        return linalg.svdvals(super().forward(x))\n"
    (tmp_path / "svd_nets.py").write_text(code)
    torch.save(nn.Linear(3, 3).state_dict(), tmp_path / "net.pt")
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--model",
        "svd_nets:Net",
        "--model-arg",
        "in_features=3",
        "--model-arg",
        "out_features=3",
        "--input",
        "3",
    ]
    status, _, err = run(capsys, "analyze", "net.pt", *arguments)
    assert status == 2 and len(err.splitlines()) == 1 and "have no rule" in err and "svd" in err

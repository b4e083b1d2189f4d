"""``graphsparse topology``: the table, JSON, CSV, and one line for bad input."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch

from graphsparse import cli


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["topology", *arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture()
def net(tmp_path):
    """3 > 4 > 2: of 6 kept connections 4 are active, two of them into each output; unit 1 of the four is starved."""
    first = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 3]])
    second = torch.tensor([[1.0, 5, 0, 0], [0, 0, 6, 0]])
    torch.save({"a.weight": first, "a.bias": torch.ones(4), "b.weight": second}, tmp_path / "net.pt")
    return str(tmp_path / "net.pt")


def test_the_table(capsys, net):
    status, out, err = run(capsys, net, "--model", "chain")
    assert status == 0 and not err
    words = {line.split()[0]: line.split()[-2:] for line in out.splitlines() if line.strip()}
    assert words["starved"] == ["1", "0"] and words["stranded"] == ["2", "0"]
    assert (
        words["remaining"] == ["6", "4"] and words["minimum_cut"] == ["2", "2"] and words["widest_path"] == ["2", "2"]
    )


def test_an_undefined_value_says_why(capsys, tmp_path):
    torch.save({"a.weight": torch.zeros(4, 3), "b.weight": torch.ones(2, 4)}, tmp_path / "net.pt")
    status, out, _ = run(capsys, str(tmp_path / "net.pt"), "--model", "chain", "--metric", "paths")
    assert status == 0
    assert "undefined, there is no path from a source to a sink: log10_paths" in out


def test_encodings_and_weights(capsys, tmp_path):
    """A kernel of a single channel: a star of three taps rolled, one edge by channel. A file of masks has no weights."""
    weight, mask = torch.tensor([[[[3.0, 4.0, 0.0, 12.0]]]]), torch.tensor([[[[1.0, 1.0, 0.0, 1.0]]]])
    torch.save({"0.weight": weight, "0.bias": torch.zeros(1)}, tmp_path / "net.pt")
    torch.save({"0.weight": mask.bool()}, tmp_path / "masks.pt")
    model = ["--model", "tests.models:one_kernel", "--input", "1x1x4", "--metric", "expansion", "--json", "-"]
    by_name = {}
    for file, encoding in (("net.pt", "rolled"), ("net.pt", "channel"), ("masks.pt", "rolled")):
        status, out, err = run(capsys, str(tmp_path / file), *model, "--encoding", encoding)
        assert status == 0, err
        rows = [row for row in json.loads(out)["metrics"] if row["scope"] == "parameter"]
        by_name[file, encoding] = {row["metric"]: row for row in rows}
    first = {key: rows["first_eigenvalue"]["kept"] for key, rows in by_name.items()}
    assert first == pytest.approx(
        {("net.pt", "rolled"): 3**0.5, ("net.pt", "channel"): 1, ("masks.pt", "rolled"): 3**0.5}
    )
    gaps = {key: rows["weighted_spectral_gap"] for key, rows in by_name.items()}
    assert gaps["net.pt", "rolled"]["kept"] == pytest.approx(13) and gaps["net.pt", "channel"]["kept"] == pytest.approx(
        13
    )
    assert gaps["masks.pt", "rolled"]["kept"] is None
    assert gaps["masks.pt", "rolled"]["undefined"] == "the weights are not known"


def test_json_and_csv(capsys, net, tmp_path):
    table = tmp_path / "t.csv"
    status, out, _ = run(capsys, net, "--model", "chain", "--metric", "liveness", "--json", "-", "--csv", str(table))
    assert status == 0
    rows = json.loads(out)["metrics"]
    starved = [row for row in rows if row["metric"] == "starved" and row["scope"] == "layer"]
    assert [row["kept"] for row in starved] == [0, 1, 0]
    assert {row["group"] for row in rows} == {"liveness"}
    written = list(csv.DictReader(io.StringIO(table.read_text())))
    assert len(written) == len(rows) and written[0]["metric"] == "units"
    assert run(capsys, net, "--model", "chain", "--csv", "-")[1].startswith("metric,group,unit,scope,place,kept,active")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--model", "none"], "topology must have a network; received --model none"),
        (["--model", "chain", "--metric", "starvd"], "did you mean starved?"),
        (["--model", "chain", "--json", "-", "--csv", "-"], "standard output must be for one of --json and --csv"),
        (["--model", "chain", "--csv", "no/such/folder.csv"], "no/such"),
        (
            ["--model", "chain", "--encoding", "flat"],
            "an encoding must be one of channel, rolled and unrolled, at --encoding",
        ),
        (
            ["--model", "chain", "--encoding", "unrolled", "--resolution", "channel"],
            "must have a graph of unrolled resolution",
        ),
        (["--model", "chain", "--resolution", "fine"], "a resolution must be unrolled or channel"),
    ],
)
def test_bad_input_is_one_line(capsys, net, arguments, text):
    status, out, err = run(capsys, net, *arguments)
    assert status == 2 and not out and text in err and len(err.splitlines()) == 1

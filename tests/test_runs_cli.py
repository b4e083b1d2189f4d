"""``graphsparse compare``, ``track``, ``plot``, several files for ``analyze``; and options that all commands share."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import zlib

import pandas
import pytest
import torch
from PIL import Image

from graphsparse import cli, data
from graphsparse.cli.app import tree
from graphsparse.runs.trajectory import COLUMNS

MLP = [str(data.path("digits-mlp-50x.pt")), str(data.path("digits-mlp-200x.pt"))]
MODEL = ["--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture()
def steps(tmp_path):
    """Three checkpoints of 2 > 2 > 1; at step 20 the second layer loses one of two connections, and so unit 1 dies."""
    whole = {"a.weight": torch.ones(2, 2), "b.weight": torch.ones(1, 2)}
    for step, last in ((0, [1.0, 1]), (10, [1.0, 1]), (20, [1.0, 0])):
        torch.save({**whole, "b.weight": torch.tensor([last])}, tmp_path / f"net_{step}.pt")
    return tmp_path


class TestCompare:
    def test_the_tables(self, capsys):
        status, out, err = run(capsys, "compare", *MLP, *MODEL)
        assert status == 0 and not err
        assert re.search(r"active +(\d+) +202 +-\d+", out) and re.search(r"effective +\d+\.\dx +248\.5x", out)
        assert re.search(r"fc1\.weight +19,200 +0\.\d{4} +0\.9955", out) and "log10_paths" in out
        assert re.search(r"B: \d+ units alive in A are dead; cut by", out)

    @pytest.mark.parametrize(
        ("condition", "status"),
        [
            ("B.active < 0.9 * A.active", 1),
            ("effective_compression < 0.9 * A.effective_compression", 0),
            ("log10_paths > A.log10_paths or B.overlap > 0.99", 0),
        ],
    )
    def test_a_check(self, capsys, condition, status):
        found, _, err = run(capsys, "compare", *MLP, *MODEL, "--fail-if", condition)
        assert found == status and (f"this holds: {condition}\n" == err) == bool(status)

    def test_files(self, capsys, tmp_path):
        status, out, _ = run(capsys, "compare", *MLP, *MODEL, "--json", "-", "--csv", tmp_path / "c.csv", "--parquet",
                             tmp_path / "c.parquet", "--select", "fc2*", "--metric", "minimum_cut")  # fmt: skip
        found = json.loads(out)
        assert status == 0 and {row["place"] for row in found["rows"]} == {"", "fc2.weight"}
        assert {row["metric"] for row in found["topology"]} == {"minimum_cut"}
        rows = list(csv.DictReader((tmp_path / "c.csv").open()))
        assert len(rows) == len(pandas.read_parquet(tmp_path / "c.parquet")) == 4 and rows[0]["checkpoint"] == "A"

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ([MLP[0], *MODEL], "a comparison must have two checkpoints or more"),
            ([*MLP, "--model", "none"], "a comparison must have a network"),
            ([*MLP, *MODEL, "--fail-if", "actve < 3"], "did you mean active"),
            ([*MLP, *MODEL, "--fail-if", "B.active"], "must compare measures"),
            ([*MLP, *MODEL, "--select", "layer*"], "the names are fc1.weight"),
            ([*MLP, *MODEL, "--metric", "liveliness"], "did you mean liveness"),
            ([MLP[0], "nowhere.pt", *MODEL], "nowhere.pt"),
        ],
    )
    def test_bad_input_is_one_line(self, capsys, arguments, text):
        status, out, err = run(capsys, "compare", *arguments)
        assert status == 2 and not out and text in err and len(err.splitlines()) == 1


class TestTrack:
    def test_the_table(self, capsys, steps):
        status, out, err = run(capsys, "track", steps, "--model", "chain")
        assert status == 0 and not err
        rows = [line.split()[:5] for line in out.splitlines() if re.match(r" \d", line)]
        assert rows == [
            ["0", "6", "6", "1.0x", "1.0x"],
            ["10", "6", "6", "1.0x", "1.0x"],
            ["20", "5", "3", "1.2x", "2.0x"],
        ]
        assert "1 deaths of units, 0 of them came back; cut by b.weight 1." in out

    def test_files_of_all_kinds(self, capsys, steps, tmp_path):
        files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "csv", "parquet")}
        asked = [part for kind, path in files.items() for part in (f"--{kind}", path)]
        status, *_ = run(capsys, "track", *sorted(steps.glob("*.pt")), "--model", "chain", "--sidecar", tmp_path / "kept",
                         "--jobs", "2", "--threads", "--deaths", tmp_path / "deaths.csv", *asked)  # fmt: skip
        assert status == 0 and len(list((tmp_path / "kept").iterdir())) == 3
        run(capsys, "track", steps, "--model", "chain", "--html", tmp_path / "run.html")
        run(capsys, "compare", *sorted(steps.glob("*.pt")), "--model", "chain", "--html", tmp_path / "c.html")
        assert "A run of 3 checkpoints" in (tmp_path / "run.html").read_text()
        assert "graphsparse compare" in (tmp_path / "c.html").read_text()
        assert len(json.loads(files["json"].read_text())["steps"]) == 9
        assert pandas.read_csv(files["csv"]).shape == pandas.read_parquet(files["parquet"]).shape
        deaths = (tmp_path / "deaths.csv").read_text().splitlines()
        assert len(deaths) == 2 and deaths[1].startswith("20,") and deaths[1].endswith("1,sinks,b.weight,")

    def test_a_damaged_file_is_said_and_the_rest_is_kept(self, capsys, steps):
        (steps / "net_10.pt").write_bytes((steps / "net_10.pt").read_bytes()[:200])
        status, out, err = run(capsys, "track", steps, "--model", "chain", "--csv", "-")
        assert status == 2 and len(err.splitlines()) == 1 and "skipped" in err and "net_10.pt" in err
        assert [row["step"] for row in csv.DictReader(io.StringIO(out)) if row["scope"] == "all"] == ["0", "20"]

    def test_a_collapse_is_said(self, capsys, steps):
        torch.save({"a.weight": torch.zeros(2, 2), "b.weight": torch.ones(1, 2)}, steps / "net_30.pt")
        _, out, _ = run(capsys, "track", steps, "--model", "chain")
        assert "From step 30 on: the network has collapsed." in out

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["nowhere"], "a run must be a folder, or several files, at nowhere; received nothing there"),
            (["--pattern", "x.pt"], "a pattern must have {step} once"),
            (["--jobs", "0"], "jobs must not be 0"),
            (["--cluster", "nowhere:1", "--jobs", "2"], "--cluster must stand without --jobs, since the cluster has"),
            (["--model", "none"], "a trajectory must have a network"),
            (["--cluster", "nowhere:1"], "a cluster must be the address of a Dask scheduler"),
        ],
    )
    def test_bad_input_is_one_line(self, capsys, steps, monkeypatch, arguments, text):
        monkeypatch.setattr("graphsparse.runs.workers.PATIENCE", "0.2s", raising=False)
        source = [] if arguments[0] == "nowhere" else [steps]
        status, out, err = run(capsys, "track", *source, "--model", "chain", *arguments)
        assert status == 2 and not out and text in err and len(err.splitlines()) == 1, err

    def test_the_ending_of_out_says_the_form(self, capsys, steps):
        for form, read in (("parquet", pandas.read_parquet), ("csv", pandas.read_csv)):
            out = steps / f"frame.{form}"
            status, _, err = run(capsys, "track", *sorted(steps.glob("net_*.pt")), "--model", "chain", "--out", out)
            assert status == 0 and not err and read(out)["step"].nunique() == 3
        asked = ["track", steps, "--model", "chain", "--out"]
        status, _, err = run(capsys, *asked, steps / "frame.xlsx")
        assert status == 2 and "must have one of the endings .parquet, .csv, .json, at --out" in err
        status, _, err = run(capsys, *asked, steps / "again.csv", "--csv", steps / "c.csv")
        assert status == 2 and "a form must have one file" in err and not (steps / "again.csv").exists()


class TestAnalyzeSeveral:
    def test_a_row_per_file(self, capsys):
        status, out, err = run(capsys, "analyze", *MLP, *MODEL)
        assert status == 0 and not err
        assert re.search(r"digits-mlp-200x\.pt +50,200 +251 +202 +200\.0x +248\.5x", out)

    @pytest.mark.parametrize("options", [(), ("--resolution", "channel", "--norm-statistics")])
    def test_what_each_says_alone(self, capsys, options):
        _, out, _ = run(capsys, "analyze", *MLP, *MODEL, *options, "--json", "-")
        for several, file in zip(json.loads(out)["reports"], MLP):
            _, alone, _ = run(capsys, "analyze", file, *MODEL, *options, "--json", "-")
            several.pop("checkpoint")
            assert several == json.loads(alone)

    def test_tables_and_a_part(self, capsys, tmp_path):
        _, out, _ = run(
            capsys, "analyze", *MLP, *MODEL, "--csv", "-", "--select", "fc[12]*", "--parquet", tmp_path / "p.parquet"
        )
        rows = list(csv.DictReader(io.StringIO(out)))
        assert [row["parameter"] for row in rows] == ["fc1.weight", "fc2.weight"] * 2 and rows[0]["shape"] == "300x64"
        assert pandas.read_parquet(tmp_path / "p.parquet")["active"].sum() == sum(int(row["active"]) for row in rows)

    def test_other_networks_and_damage_beside_it(self, capsys, tmp_path):
        torch.save({"fc1.weight": torch.eye(3)}, tmp_path / "other.pt")
        (tmp_path / "damaged.pt").write_bytes(b"PK")
        status, out, err = run(
            capsys, "analyze", tmp_path / "damaged.pt", MLP[0], tmp_path / "other.pt", "--model", "chain"
        )
        assert status == 2 and len(err.splitlines()) == 1 and "damaged.pt" in err
        assert re.search(r"other\.pt +9 +3 +3", out) and "digits-mlp-50x.pt" in out

    def test_limits_and_pages(self, capsys, tmp_path):
        status, _, err = run(capsys, "analyze", *MLP, *MODEL, "--fail-under", "100")
        assert status == 1 and len(err.splitlines()) == 1 and "digits-mlp-50x.pt: effective compression" in err
        status, _, err = run(capsys, "analyze", *MLP, *MODEL, "--html", tmp_path / "p.html")
        assert status == 2 and "a page must be of one checkpoint" in err


class TestPlot:
    @pytest.mark.parametrize("kind", ["density", "degrees", "network", "paths", "mask", "comparison"])
    def test_every_kind_in_a_file(self, capsys, tmp_path, kind):
        files = MLP if kind == "comparison" else MLP[1:]
        out = tmp_path / "picture.png"
        more = ["--parameter", "fc2.weight", "--order", "degree"] if kind == "mask" else []
        status, said, err = run(capsys, "plot", kind, *files, *MODEL, "--out", out, *more, "--inches", "4x3")
        assert status == 0 and not err and said == f"Written: {out}\n"
        with Image.open(out) as picture:
            assert picture.size == (1200, 900) and len(picture.convert("RGB").getcolors(10**6) or []) > 10

    @pytest.mark.parametrize("ending", ["csv", "parquet", ""])
    def test_a_run_and_tables_of_one(self, capsys, steps, tmp_path, ending):
        source = steps
        if ending:
            source = tmp_path / f"run.{ending}"
            run(capsys, "track", steps, "--model", "chain", f"--{ending}", source)
        model = [] if ending else ["--model", "chain"]
        status, *_ = run(capsys, "plot", "trajectory", source, *model, "--out", tmp_path / "run.svg")
        assert status == 0 and "units with a connection (ANP)" in (tmp_path / "run.svg").read_text()

    def test_text_is_text_and_fonts_are_truetype(self, capsys, tmp_path):
        for ending in ("svg", "pdf"):
            run(capsys, "plot", "density", MLP[1], *MODEL, "--out", tmp_path / f"p.{ending}")
        assert "fc1.weight</text>" in (tmp_path / "p.svg").read_text()
        pdf = (tmp_path / "p.pdf").read_bytes()
        parts = [_inflated(part) for part in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)]
        assert b"/FontFile2" in b"".join([pdf, *parts]) and b"/Subtype /Type3" not in b"".join([pdf, *parts])

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["pie", MLP[0], *MODEL], "name one of density, degrees"),
            (["density", *MLP, *MODEL], "a picture of density must be of one checkpoint"),
            (["mask", MLP[0], *MODEL], "name it with --parameter"),
            (["mask", MLP[0], *MODEL, "--parameter", "fc9"], "a parameter must be one with connections, at fc9"),
            (["mask", MLP[0], *MODEL, "--parameter", "fc1.weight", "--order", "size"], "an order must be"),
            (["density", MLP[0], *MODEL, "--inches", "4"], "the size of a picture must be two numbers of inches"),
            (["density", MLP[0], *MODEL, "--inches", "4x0"], "from 0.5 to 100"),
            (["density", MLP[0], "--model", "none"], "a picture must have a network"),
        ],
    )
    def test_bad_input_is_one_line(self, capsys, tmp_path, arguments, text):
        status, out, err = run(capsys, "plot", *arguments, "--out", tmp_path / "p.png")
        assert status == 2 and not out and text in err and len(err.splitlines()) == 1
        assert not (tmp_path / "p.png").exists()

    def test_a_picture_of_no_kind(self, capsys, tmp_path):
        status, _, err = run(capsys, "plot", "density", MLP[0], *MODEL, "--out", tmp_path / "p.jpg")
        assert status == 2 and "must end in .png, .svg, .pdf" in err
        (tmp_path / "t.csv").write_text("a,b\n1,2\n")
        status, _, err = run(capsys, "plot", "trajectory", tmp_path / "t.csv", "--out", tmp_path / "p.png")
        assert status == 2 and "a table of a run must be one that track wrote" in err

    @pytest.mark.parametrize(
        ("rows", "said"), [("", "without rows"), (",".join(["much"] * len(COLUMNS)), "ValueError")]
    )
    def test_a_table_with_a_runs_columns_alone(self, capsys, tmp_path, rows, said):
        (tmp_path / "t.csv").write_text(f"{','.join(COLUMNS)}\n{rows}\n")
        status, out, err = run(capsys, "plot", "trajectory", tmp_path / "t.csv", "--out", tmp_path / "p.png")
        assert status == 2 and not out and said in err and len(err.splitlines()) == 1

    def test_without_matplotlib_the_extra_is_named(self, capsys, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        status, _, err = run(capsys, "plot", "density", MLP[0], *MODEL, "--out", tmp_path / "p.png")
        assert status == 2 and "pip install 'graphsparse[plots]'" in err


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


class TestOptions:
    COMMANDS = tree().commands.items()

    def test_one_name_for_one_thing(self):
        """An argument of the library has one option in every command, and an option one help text."""
        options: dict[str, set] = {}
        helps: dict[str, set] = {}
        for _, command in self.COMMANDS:
            for parameter in command.params:
                if parameter.opts[0].startswith("--"):
                    options.setdefault(parameter.name, set()).add(tuple(parameter.opts))
                    helps.setdefault(parameter.opts[0], set()).add(parameter.help)
        assert not {name: found for name, found in options.items() if len(found) > 1}
        own = {
            "--out": "the pruned checkpoint, or the picture",
            "--method": "curve takes several",
            "--compression": "the target, or where rounds end",
            "--verify": "of a report, or of a smaller model",
        }
        assert not {name: found for name, found in helps.items() if len(found) > 1 and name not in own}

    @pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
    def test_every_command_has_json(self, name):
        command = dict(self.COMMANDS)[name]
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) == (name not in ("plot", "demo"))  # what they make is a picture, and a story

    def test_the_other_commands_answer_in_json(self, capsys, tmp_path):
        _, out, _ = run(capsys, "convert", MLP[1], tmp_path / "a.safetensors", "--to", "zeros", "--json", "-")
        assert json.loads(out)["kept"] == 251 and json.loads(out)["masks"] == 3
        status, out, _ = run(
            capsys, "prune", MLP[0], *MODEL, "--compression", "200", "--out", tmp_path / "p.pt", "--json", "-"
        )
        told = json.loads(out)
        _, again, _ = run(capsys, "analyze", tmp_path / "p.pt", *MODEL, "--json", "-")
        assert status == 0 and told["summary"] == json.loads(again)["summary"] and told["form"] == "zeros"
        _, out, _ = run(capsys, "curve", MLP[0], *MODEL, "--method", "magnitude", "--points", "5", "--json", "-",
                        "--parquet", tmp_path / "c.parquet")  # fmt: skip
        assert len(json.loads(out)["points"]) == len(pandas.read_parquet(tmp_path / "c.parquet")) >= 5
        _, out, _ = run(capsys, "topology", MLP[0], *MODEL, "--metric", "starved", "--select", "fc1", "--json", "-")
        assert {row["place"] for row in json.loads(out)["metrics"]} == {"", "fc1"}

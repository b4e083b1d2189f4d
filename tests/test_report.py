"""Reports: counts worked by hand, what is said of collapse, chains and missing models, JSON and pages without surprises."""

from __future__ import annotations

import json
import math

import networkx
import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import data, zoo
from graphsparse.checkpoints import read_checkpoint
from graphsparse.errors import CheckpointError, MaskError, ModelError
from graphsparse.reports.report import Report
from graphsparse.reports.terminal import show, texts_of

FIRST = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 3]])
SECOND = torch.tensor([[1.0, 5, 0, 0], [0, 0, 6, 0]])
"""Hidden unit 0 leads to output 0; 1 is starved though it reaches output 0; 2 leads to output 1; 3 is stranded.
Of 4 + 3 kept connections the one into unit 3 and the one out of unit 1 are dead: active are 2 and 2."""


def chain(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"a.weight": FIRST, "a.bias": torch.zeros(4), "b.weight": SECOND, **changed}


def test_a_row_for_each_parameter_worked_by_hand():
    report = gs.analyze(chain(), "chain")
    rows = {
        "shape": [(4, 3), (2, 4)], "connections": [12, 8], "kept": [3, 3], "active": [2, 2], "direct": [0.75, 0.625],
        "effective": [1 - 2 / 12, 0.75], "units": [4, 2], "starved": [1, 0], "stranded": [1, 0],
            "macs": [12, 8], "kept_macs": [3, 3], "active_macs": [2, 2],
    }  # fmt: skip
    assert list(report.frame.index) == ["a.weight", "b.weight"] and list(report.frame.columns) == list(rows)
    for column, values in rows.items():
        assert (
            report.frame[column].tolist() == pytest.approx(values)
            if column != "shape"
            else list(report.frame[column]) == values
        )
    found = report.sparsity
    assert (found.connections, found.kept, found.active) == (20, 6, 4)
    assert (found.direct, found.effective) == (0.7, 0.8) and found.effective_compression == 5.0
    assert report.summary["direct_compression"] == pytest.approx(20 / 6)


@pytest.mark.parametrize("name", [name for name, network in data.CHECKPOINTS.items() if network == "digits_mlp"])
def test_real_checkpoints_against_networkx(name):
    report = gs.analyze(data.path(name), zoo.build("digits_mlp"), torch.zeros(1, 1, 8, 8))
    masks = list(read_checkpoint(data.path(name)).masks.values())
    masks = [mask.numpy() for mask in masks if mask.dim() == 2]
    graph = networkx.DiGraph([((k, i), (k + 1, o)) for k, mask in enumerate(masks) for o, i in np.argwhere(mask)])
    graph.add_nodes_from([*((0, i) for i in range(64)), *((3, o) for o in range(10))])
    fed = set().union(*(networkx.descendants(graph, (0, i)) | {(0, i)} for i in range(64)))
    leading = set().union(*(networkx.ancestors(graph, (3, o)) | {(3, o)} for o in range(10)))
    active = [sum(u in fed and v in leading for u, v in graph.edges if u[0] == layer) for layer in range(3)]
    assert report.frame["active"].tolist() == active and report.frame["kept"].tolist() == [mask.sum() for mask in masks]
    starved = [sum((layer + 1, o) not in fed for o in range(len(mask))) for layer, mask in enumerate(masks)]
    stranded = [sum((layer + 1, o) not in leading for o in range(len(mask))) for layer, mask in enumerate(masks)]
    assert report.frame["starved"].tolist() == starved and report.frame["stranded"].tolist() == stranded


def test_collapse_names_the_layer_and_divides_by_nothing():
    empty = gs.analyze(chain(**{"b.weight": torch.zeros(2, 4)}), "chain")
    assert "Nothing is kept in b.weight." in empty.notes[0] and empty.sparsity.collapsed == ("a.weight", "b.weight")
    assert math.isinf(empty.summary["effective_compression"]) and empty.summary["effective_sparsity"] == 1.0
    apart = gs.analyze(chain(**{"b.weight": torch.tensor([[0.0, 5, 0, 0], [0, 0, 0, 0]])}), "chain")
    assert apart.notes[0].endswith("The inputs reach no unit that b.weight feeds.")
    assert not apart.frame.isna().any().any() and not empty.frame.isna().any().any()


def test_an_identity_around_nothing_is_no_collapse():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x):
            return x + self.inner(x)

    model = Around()
    nn.init.zeros_(model.inner.weight)
    report = gs.analyze(model, None, torch.zeros(1, 3))
    assert report.notes == ("Nothing is active in inner.weight.",) and report.sparsity.connected


def test_unused_parameters_are_listed_and_not_counted():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Linear(3, 2), nn.Linear(5, 5)

        def forward(self, x):
            return self.used(x)

    report = gs.analyze(Spare(), None, torch.zeros(1, 3))
    assert report.summary["connections"] == 6 and report.to_dict()["unused"] == ["spare.weight"]
    assert "spare.weight" in report.notes[0]


def test_json_is_strict_and_whole(tmp_path):
    report = gs.analyze(chain(**{"b.weight": torch.zeros(2, 4)}), "chain")
    text = report.to_json(tmp_path / "report.json")
    read = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert read["summary"]["effective_compression"] is None and read["collapsed"] == ["a.weight", "b.weight"]
    assert [row["parameter"] for row in read["parameters"]] == ["a.weight", "b.weight"]
    assert read["parameters"][0]["shape"] == [4, 3] and (tmp_path / "report.json").read_text() == text + "\n"


def test_a_page_escapes_names(tmp_path):
    gs.analyze({"<b>.weight": FIRST}, "chain").to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;.weight" in page and "<b>." not in page and "4 × 3" in page


def test_names_cannot_write_on_the_terminal(capsys):
    show(gs.analyze({"[red]\x1b[2Jx.weight": FIRST}, "chain"))
    out = capsys.readouterr().out
    assert "[red]" in out and "\x1b" not in out


def test_almost_everything_is_not_everything():
    report = gs.analyze({"a.weight": torch.eye(300)[:, :1].repeat(1, 100) * (torch.arange(100) == 0)}, "chain")
    assert report.frame["direct"].tolist() == [1 - 1 / 30000]
    assert texts_of(report)["direct"] == ["direct", "0.9999"]


def test_a_narrow_terminal_keeps_the_numbers(capsys, monkeypatch):
    from rich.console import Console

    report = gs.analyze(chain(), "chain")
    for width, columns in ((200, {"shape", "units", "stranded"}), (75, {"kept", "active", "effective", "stranded"})):
        console = Console(width=width, force_terminal=True, color_system=None)
        show(report, console)
        out = capsys.readouterr().out
        assert all(column in out for column in columns) and "…" not in out
        assert max(map(len, out.splitlines())) <= width


class TestChain:
    def test_says_what_it_took_for_granted(self):
        report = gs.analyze({**chain(), "norm.running_mean": torch.ones(4)}, "chain")
        assert report.notes == (
            "Read as a chain, in the file's order: a.weight > b.weight. Left out: norm.running_mean.",
        )

    def test_goes_by_the_file_where_only_some_are_pruned(self):
        masks = {"2.weight_orig": torch.ones(3, 3), "2.weight_mask": torch.eye(3)}
        report = gs.analyze({"1.weight": 2 * torch.ones(3, 3), **masks, "3.weight": 2 * torch.ones(3, 3)}, "chain")
        assert list(report.frame.index) == ["1.weight", "2.weight", "3.weight"] and report.summary["kept"] == 21

    @pytest.mark.parametrize(
        ("tensors", "text"),
        [
            ({"a.weight": (8, 4), "b.weight": (5, 9)}, "as many inputs as the one before has outputs"),
            ({"a.weight": (8, 4), "b.weight": (5, 8, 3, 3)}, "convolutions must come first"),
            ({"a.weight": (8, 4, 3, 3), "b.weight": (5, 20)}, "as many inputs"),
            ({"a.weight": (8, 4), "a.bias": (7,)}, "a bias must have an entry for each output"),
            ({"a.weight": (0, 4)}, "kernels with entries"),
            ({"forward.weight": (8, 4)}, "names that a module allows"),
        ],
    )
    def test_refuses_what_is_none(self, tensors, text):
        with pytest.raises(ModelError, match=text):
            gs.analyze({name: torch.full(shape, 2.0) for name, shape in tensors.items()}, "chain", resolution="channel")

    def test_a_scale_with_zeros_is_not_left_out(self):
        with pytest.raises(ModelError, match=r"norm\.weight"):
            gs.analyze({**chain(), "norm.weight": torch.tensor([1.0, 0, 2, 3])}, "chain")

    def test_convolutions_have_channels_only(self):
        tensors = {"c.weight": 2 * torch.ones(4, 3, 3, 3), "f.weight": 2 * torch.ones(2, 4 * 9)}
        with pytest.raises(ModelError, match="channel"):
            gs.analyze(tensors, "chain")
        assert gs.analyze(tensors, "chain", resolution="channel").summary["active"] == 4 * 27 + 72


class TestModels:
    def test_masks_alone_need_no_weights(self):
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        report = gs.analyze({"0.weight": FIRST != 0, "2.weight": SECOND != 0}, model, torch.zeros(1, 3))
        assert report.summary["active"] == 4
        report = gs.analyze({"0.weight": FIRST != 0}, model, torch.zeros(1, 3))
        assert report.summary["kept"] == 3 + 8 and "wholly kept: 2.weight" in report.notes[0]

    def test_a_kept_weight_of_zero_is_kept_where_a_mask_says_so(self):
        state = {"0.weight_orig": torch.zeros(2, 3), "0.weight_mask": torch.ones(2, 3), "0.bias": torch.ones(2)}
        assert gs.analyze(state, nn.Sequential(nn.Linear(3, 2)), torch.zeros(1, 3)).summary["active"] == 6

    def test_both_sides_of_a_misfit_are_listed(self):
        with pytest.raises(ModelError, match=r"missing: 0\.bias.*not in the model: 1\.weight"):
            gs.analyze({"0.weight": FIRST, "1.weight": SECOND}, nn.Sequential(nn.Linear(3, 4)), torch.zeros(1, 3))

    def test_tied_weights_may_be_there_once(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.table, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
                self.head.weight = self.table.weight

            def forward(self, tokens):
                return self.head(self.table(tokens))

        weight = 2.0 * torch.eye(5)[:, :3]
        tokens = torch.zeros(1, 2, dtype=torch.int64)
        report = gs.analyze({"table.weight": weight}, Tied(), tokens)
        assert report.summary["connections"] == 15 and report.summary["kept"] == 3

    def test_none_counts_tensors(self):
        report = gs.analyze(chain(), "none")
        assert report.sparsity is None and report.summary["kept"] == 6 and "needs a model" in report.notes[0]

    def test_a_factory_that_fails_is_the_users_to_mend(self, tmp_path, monkeypatch):
        (tmp_path / "broken_nets.py").write_text("def build(width=1):\n    raise RuntimeError('no such width')\n")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ModelError, match=r"called with width.*RuntimeError: no such width"):
            gs.analyze(chain(), "broken_nets:build", model_args={"width": 3})

    @pytest.mark.parametrize("source", ["nowhere.pt", b"bytes", 3])
    def test_a_source_that_is_none(self, source):
        with pytest.raises((CheckpointError, MaskError, ModelError)):
            gs.analyze(source, "chain")


class TestTransformers:
    @pytest.fixture()
    def folder(self, tmp_path):
        transformers = pytest.importorskip("transformers")
        sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
        config = transformers.LlamaConfig(
            **sizes, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True
        )
        model = transformers.LlamaForCausalLM(config)
        mlp = model.model.layers[0].mlp
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(1.0)
            mlp.gate_proj.weight[:3] = (
                0.0  # closed gates: rows of up_proj and columns of down_proj behind them are dead
            )
        model.save_pretrained(tmp_path, max_shard_size="4KB")
        self.kept = sum(int((p != 0).sum()) for p in model.parameters() if p.dim() > 1)
        return tmp_path

    def test_a_folder_needs_no_model_and_no_memory(self, folder):
        report = gs.analyze(folder, resolution="channel", form="zeros")
        assert report.summary["kept"] == self.kept and report.summary["active"] == self.kept - 2 * 3 * 16
        assert report.summary["connections"] == 32 * 16 + 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24

    def test_code_of_its_own_is_never_run(self, folder):
        canary = folder / "ran"
        (folder / "modeling_own.py").write_text(f"open({str(canary)!r}, 'w').close()\n")
        config = json.loads((folder / "config.json").read_text())
        own = {"AutoConfig": "modeling_own.Config", "AutoModel": "modeling_own.Model"}
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": own}))
        with pytest.raises(ModelError, match="without code of its own"):
            gs.analyze(folder, resolution="channel")
        assert not canary.exists()

    @pytest.mark.parametrize("architecture", ["os", "AutoModel", "Conv1D", "no such", "torch.nn.Linear"])
    def test_only_model_classes_of_transformers_are_made(self, folder, architecture):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
        with pytest.raises(ModelError, match="must name a model class"):
            gs.analyze(folder, resolution="channel")


def test_the_report_is_a_value():
    report = gs.analyze(chain(), "chain")
    assert isinstance(report, Report)
    with pytest.raises(AttributeError):
        report.title = "other"


class Chosen(nn.Module):
    """The best two of its units, whichever those are."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4, bias=False), nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.head(self.body(x).topk(2).values)


def test_what_each_rule_took_is_in_the_report_and_on_the_page(tmp_path):
    report = gs.analyze({"body.weight": torch.ones(4, 3), "head.weight": torch.ones(2, 2)}, Chosen(), torch.zeros(1, 3))
    found = json.loads(report.to_json())["coverage"]
    assert found["operations"] == {"linear": 2, "topk": 1}
    (call,) = found["conservative"]
    assert call["operation"] == "topk" and "any element" in call["reason"]
    report.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Decided on the safe side" in page and call["reason"] in page and '<th scope="row">topk</th>' in page
    assert '<th scope="row">norm statistics</th><td>no</td>' in page


def test_a_file_that_is_not_there_is_what_is_wrong(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        gs.analyze(tmp_path / "nowhere.pt")

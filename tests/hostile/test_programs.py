"""Programs in .pt2 archives that attack: nothing runs, nothing is written, one line, status 2, soon. Honest ones: as live."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.errors import GraphsparseError
from graphsparse.networks.models import read_program
from tests.hostile import programs

BESIDE = {"evil_module.py": "open('canary', 'w')"}
MEGABYTES = 200


@pytest.fixture(scope="module")
def ran(tmp_path_factory, call):
    """{group: {case: its outcome}}: the command line on every crafted archive."""
    folder = tmp_path_factory.mktemp("programs")

    def archive(content: bytes) -> str:
        path = folder / f"{len(list(folder.iterdir()))}.pt2"
        path.write_bytes(content)
        return str(path)

    left_out = {name: archive(content) for name, content in programs.left_out().items()}
    left_out["honest"] = archive(programs.zipped(programs.honest()))
    attacks = {**programs.runs_code(), **programs.crashes(), **programs.bombs()}
    large = {name: [archive(content)] for name, content in programs.large_graphs().items()}
    long, weights = archive(programs.a_long_kernel()), str(folder / "long.pt")
    Path(weights).write_bytes(programs.saved({"layer.weight": torch.ones(1, 1, 999), "layer.bias": torch.ones(1)}))
    large |= {"long": [long], "beside": [weights, "--model", long]}
    given = {
        "attacks": {name: ["analyze", archive(content)] for name, content in attacks.items()},
        "left out": {name: ["analyze", path] for name, path in left_out.items()},
        "pruned": {
            name: ["prune", left_out[name], "--compression", "4", "--out", str(folder / "masks.safetensors")]
            for name in ("honest", "guards of a program of fixed sizes")
        },
        "large": {name: ["analyze", *command] for name, command in large.items()},
        "trusted": {name: ["analyze", *large[name], "--trust-sizes"] for name in ("long", "beside")},
    }
    return {
        group: {name: call(*command, beside=BESIDE, memory=True) for name, command in cases.items()}
        for group, cases in given.items()
    }


def test_large_graphs_are_refused_by_a_line_that_names_the_option(ran):
    """What a call makes is counted before it is made; one call of a large graph may be made before the next is refused."""
    assert len(ran["large"]) == 14
    for name, found in ran["large"].items():
        assert found.status == 2 and found.err.count("\n") == 1 and not found.out and not found.made, (name, found)
        assert "of a size that its file bears out" in found.err and "--trust-sizes" in found.err, (name, found)
        assert found.grown < 1100, (name, found)


def test_sizes_that_are_trusted_are_analysed(ran):
    for name, found in ran["trusted"].items():
        assert found.status == 0 and not found.err and "999 of 999 active" in found.out, (name, found)


def test_a_small_network_over_large_images_needs_no_option(tmp_path):
    layers = [
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
    ]
    model = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 224, 224),)), tmp_path / "net.pt2")
    assert gs.analyze(tmp_path / "net.pt2").summary["active"] == 27 * 16 + 144 * 32 + 320


def test_an_attack_is_refused_in_one_line(ran):
    assert len(ran["attacks"]) > 70
    for name, found in ran["attacks"].items():
        assert not found.made and found.status == 2 and found.grown < MEGABYTES, (name, found)
        assert found.err.startswith("graphsparse: ") and found.err.count("\n") == 1 and not found.out, (name, found)
        assert len(found.err) < 1000, (name, found)


def test_what_is_never_looked_at_changes_nothing(ran):
    """Guards and expressions of open sizes, which honest programs have too, are left out: the report is the honest one."""
    for name, found in ran["left out"].items():
        assert found.status == 0 and not found.err and not found.made, (name, found)
        assert "160 of 160 active" in found.out, (name, found)


def test_programs_are_pruned_and_their_guards_do_not_run(ran):
    for name, found in ran["pruned"].items():
        assert found.status == 0 and not found.made, (name, found)


def test_a_file_is_opened_once(tmp_path, monkeypatch):
    """What is checked and what is loaded are the same bytes, whatever happens to the file in between."""
    path, opened, real = tmp_path / "net.pt2", [], io.open
    path.write_bytes(programs.zipped(programs.honest()))
    monkeypatch.setattr(
        io, "open", lambda file, *given, **named: opened.append(str(file)) or real(file, *given, **named)
    )
    read_program(str(path))
    assert opened.count(str(path)) == 1


class Attention(nn.Module):
    """Tied weights, buffers that are saved and that are not, outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(11, 8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("mask", torch.triu(torch.full((5, 5), float("-inf")), 1))
        self.register_buffer("positions", torch.arange(5), persistent=False)

    def forward(self, tokens):
        value = self.table(tokens) + torch.sin(self.positions)[None, :, None]
        mixed, _ = self.attention(value, value, value, attn_mask=self.mask)
        return {"scores": self.head(self.norm(value + mixed)), "more": (value, [mixed])}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 2)

    def forward(self, value):
        return self.head(self.cell(value)[0][:, -1])


class Branching(nn.Module):
    """Keyword inputs, sizes that are computed with, writes in place, a branch."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, value, *, scale):
        value = (self.first(value) * scale).view(value.shape[0] * 2, 2).reshape(value.shape[0], -1).clone()
        value[:, 0] = 0
        value = value.relu_() + torch.zeros(value.size(0), 4)
        return torch.cond(value.sum() > 0, lambda a: a + 1, lambda a: a * 2, (self.second(value),))


def convolutional():
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, nn.Dropout(), nn.Flatten(), nn.Linear(8, 3))


BATCH = torch.export.Dim("batch", min=2, max=64)
HONEST = {
    "batch norm": (convolutional, (torch.ones(2, 3, 8, 8),), {}, None),
    "batch norm, any batch": (convolutional, (torch.ones(2, 3, 8, 8),), {}, ({0: BATCH},)),
    "recurrent": (Recurrent, (torch.ones(2, 3, 4),), {}, None),
    "attention": (Attention, (torch.tensor([[1, 2, 3, 4, 5]]),), {}, None),
    "keywords and a branch": (
        Branching, (torch.ones(2, 4),), {"scale": torch.ones(4)}, {"value": {0: BATCH}, "scale": None}),
}  # fmt: skip


def saved_program(path, name, training=False):
    build, args, kwargs, shapes = HONEST[name]
    torch.manual_seed(0)
    model = build().train(training)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= torch.rand(parameter.shape) > (0.4 if parameter.dim() > 1 else 0)
    torch.export.save(torch.export.export(model, args, kwargs, dynamic_shapes=shapes), path)
    return model.eval(), args, kwargs


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", HONEST)
@pytest.mark.filterwarnings("ignore")
def test_honest_programs_give_the_numbers_of_the_live_model(tmp_path, name, training):
    model, args, kwargs = saved_program(tmp_path / "net.pt2", name, training)
    program = read_program(str(tmp_path / "net.pt2"))
    loaded, live = gs.export(program), gs.export(model, args, kwargs=kwargs)
    assert loaded.aliases.items() >= live.aliases.items()
    found, expected = gs.effective_masks(loaded), gs.effective_masks(live)
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)
    if not training:
        results = (torch.utils._pytree.tree_leaves(each(*args, **kwargs)) for each in (program.module(), model))
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*results, strict=True))


@pytest.mark.filterwarnings("ignore")
def test_a_state_dict_under_a_program_with_batch_norm(tmp_path):
    """torch takes batch norm apart only where what a program holds as parameters are parameters."""
    model, args, _ = saved_program(tmp_path / "net.pt2", "batch norm")
    with torch.no_grad():
        model[0].weight[0] = 0
    torch.save(model.state_dict(), tmp_path / "net.pt")
    report = gs.analyze(tmp_path / "net.pt", str(tmp_path / "net.pt2"))
    expected = gs.sparsity(gs.export(model, args))
    assert (report.summary["kept"], report.summary["active"]) == (expected.kept, expected.active)


def test_a_program_without_weights_takes_those_of_a_checkpoint(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.device("meta"):
        empty = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    torch.export.save(torch.export.export(empty, (torch.zeros(1, 4, device="meta"),)), tmp_path / "net.pt2")
    with torch.no_grad():
        model[0].weight[1] = 0
    torch.save(model.state_dict(), tmp_path / "net.pt")
    summary = gs.analyze(tmp_path / "net.pt", str(tmp_path / "net.pt2")).summary
    assert (summary["kept"], summary["active"]) == (14, 12)


@pytest.mark.filterwarnings("ignore")
def test_mutated_programs_are_analysed_or_refused(tmp_path):
    choice, refused = random.Random(0), 0
    for _ in range(MUTANTS := 150):
        members = programs.honest()
        member = choice.choice([programs.MODEL, programs.MODEL, programs.WEIGHTS])
        text = json.dumps(programs.mutated(json.loads(members[member]), choice))
        (tmp_path / "net.pt2").write_bytes(programs.zipped({**members, member: text.encode()}))
        try:
            gs.export(read_program(str(tmp_path / "net.pt2")), resolution="channel")
        except GraphsparseError as error:
            assert len(str(error)) < 1000 and "\n" not in str(error)
            refused += 1
    assert MUTANTS // 2 < refused < MUTANTS

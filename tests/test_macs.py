"""Multiplications with additions, against torch's counter and against brute force over positions."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import graphsparse as gs
from graphsparse import cli, zoo
from graphsparse.measures.macs import macs_of
from tests.judge import random_masks


def by_torch(model: nn.Module, *inputs: torch.Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(*inputs)
    return counter.get_total_flops() // 2


MODELS = {
    "linear": (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), torch.zeros(2, 7, 5)),
    "convolutions": (nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 6, 2, stride=2, groups=6)), torch.zeros(2, 4, 9, 8)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, stride=2), torch.zeros(1, 3, 4, 5)),
    "zoo": (zoo.build("lenet5"), torch.zeros(1, 3, 32, 32)),
}  # fmt: skip


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("name", MODELS)
def test_dense_macs_are_those_that_torch_counts(name, resolution):
    model, x = MODELS[name]
    found = macs_of(gs.export(model, x, {}, resolution=resolution))
    assert sum(each.dense for each in found.values()) * len(x) == by_torch(model, x)


def test_kept_and_active_macs_by_brute_force():
    """Each connection counts as often as its tap reads an element: the sum of what a kernel of ones makes of ones."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.Conv2d(3, 4, 2, padding=1, stride=2, bias=False)
    )
    x = torch.zeros(1, 2, 5, 4)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    given = random_masks(shapes, 0.5, 3)
    given["0.weight"][0] = False  # nothing reaches the first channel
    graph = gs.export(model, x, given)
    masks, active = {name: torch.from_numpy(graph.kept[name].unpack()) for name in shapes}, gs.effective_masks(graph)
    ones = {"0.weight": torch.ones(1, 2, 5, 4), "1.weight": torch.ones(1, 3, 5, 4)}
    for name, found in macs_of(graph).items():
        stride = 1 + int(name[0])
        counts = [
            int(nn.functional.conv2d(ones[name], kernel.float(), stride=stride, padding=1).sum())
            for kernel in (torch.ones(shapes[name]), masks[name], active[name])
        ]
        assert list(found) == counts
    assert 0 < found.active < found.kept < found.dense


def test_a_table_that_is_looked_up_multiplies_nothing():
    model = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 2))
    for resolution in ("unrolled", "channel"):
        found = macs_of(gs.export(model, torch.zeros(1, 5, dtype=torch.int64), {}, resolution=resolution))
        assert found["0.weight"].dense == 0 and found["1.weight"].dense == 5 * 6


def test_reports_have_them(tmp_path, capsys):
    model = zoo.build("digits_mlp")
    with torch.no_grad():
        model.fc1.weight[:100] = 0
        model.fc2.weight[:, 290:] = 0
    report = gs.analyze(model, example_inputs=torch.zeros(1, 1, 8, 8))
    row = report.frame.loc["fc1.weight"]
    assert row[["macs", "kept_macs", "active_macs"]].tolist() == [19_200, 12_800, 12_160]
    assert (
        report.summary["active_macs"]
        == sum(report.frame["active_macs"])
        == gs.sparsity(gs.export(model, torch.zeros(1, 1, 8, 8))).active
    )
    torch.save(model.state_dict(), tmp_path / "net.pt")
    command = ["analyze", str(tmp_path / "net.pt"), "--model", "graphsparse.zoo:digits_mlp", "--input", "1x8x8"]
    with pytest.raises(SystemExit):
        cli.main([*command, "--csv", str(tmp_path / "rows.csv"), "--json", str(tmp_path / "report.json")])
    assert "MACs" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert rows[0]["parameter"] == "fc1.weight" and rows[0]["active_macs"] == "12160"
    assert json.loads((tmp_path / "report.json").read_text())["parameters"][0]["kept_macs"] == 12_800

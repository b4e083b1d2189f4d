"""States worked by hand: zero, constant and signal; biases, scales, gates; masks read off a model."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import graphsparse as gs
from graphsparse.sweep import sweep
from tests.models import Gated


def active(model: nn.Module, masks: dict[str, list], example=None) -> dict[str, list]:
    graph = gs.export(
        model, torch.zeros(1, 2) if example is None else example, {n: torch.tensor(m) > 0 for n, m in masks.items()}
    )
    return {name: mask.int().tolist() for name, mask in gs.effective_masks(graph).items()}


STARVED = {"c.weight": [[0, 0], [1, 1]]}  # unit 0 of c has no kept weight


def test_a_gate_that_is_always_zero_kills_its_partner():
    found = active(Gated(torch.tanh), STARVED)
    assert found == {"b.weight": [[0, 0], [1, 1]], "c.weight": [[0, 0], [1, 1]], "head.weight": [[0, 1]]}


def test_a_gate_with_f_of_zero_not_zero_passes_its_partner():
    found = active(Gated(torch.sigmoid), STARVED)
    assert found["b.weight"] == [[1, 1], [1, 1]] and found["head.weight"] == [[1, 1]]


def test_a_bias_lifts_a_gate_unless_it_is_masked_or_zero():
    model = Gated(torch.tanh, bias=True)
    assert active(model, STARVED)["b.weight"] == [[1, 1], [1, 1]]
    assert active(model, {**STARVED, "c.bias": [0, 1]})["b.weight"] == [[0, 0], [1, 1]]
    nn.init.zeros_(model.c.bias)
    assert active(model, STARVED)["b.weight"] == [[0, 0], [1, 1]]


def test_what_only_a_constant_feeds_is_inactive():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    masks = {"0.weight": [[1, 1], [0, 0]], "2.weight": [[1, 1]]}
    assert active(model, masks) == {"0.weight": [[1, 1], [0, 0]], "2.weight": [[1, 0]]}
    graph = gs.export(model, torch.zeros(1, 2), {n: torch.tensor(m) > 0 for n, m in masks.items()})
    alive = sweep(graph, states=True)
    assert alive.nonzero[2:4].tolist() == [True, True] and alive.signal[2:4].tolist() == [True, False]


def test_network_slimming_by_zero_scales():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        model[1].weight[1] = 0
    graph = gs.export(model, torch.zeros(1, 1, 2, 2))
    found = gs.effective_masks(graph)
    assert found["0.weight"].flatten().tolist() == [True, False, True]
    assert found["3.weight"].flatten(1).tolist() == [[True, False, True]] * 2
    assert not graph.adjacency()[:, graph.cut].nnz and not graph.adjacency()[graph.cut].nnz
    whole = gs.effective_masks(
        gs.export(model, torch.zeros(1, 1, 2, 2), {})
    )  # given masks leave a fresh zero to training
    assert bool(whole["0.weight"].all())
    masked = gs.export(model, torch.zeros(1, 1, 2, 2), {"1.weight": torch.tensor([True, True, False])})
    assert gs.effective_masks(masked)["0.weight"].flatten().tolist() == [True, True, False]


def test_a_tap_that_only_sees_padding_is_inactive_unrolled_and_kept_by_channel():
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    for resolution, alive in (("unrolled", 1), ("channel", 9)):
        graph = gs.export(layer, torch.zeros(1, 1, 1, 1), {}, resolution=resolution)
        assert int(gs.effective_masks(graph)["weight"].sum()) == alive


def test_masks_are_read_off_the_model():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    prune.random_unstructured(model[0], "weight", amount=0.5)
    with torch.no_grad():
        model[2].weight[0, 1] = 0
        model[2].weight[0, 2] = float("nan")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = gs.export(model, torch.zeros(1, 3))
    assert torch.equal(torch.from_numpy(graph.masks["0.weight"].unpack()), model[0].weight_mask.bool())
    assert graph.masks["2.weight"].count() == 7
    assert prune.is_pruned(model) and model.training
    assert all(torch.equal(before[n].nan_to_num(), t.nan_to_num()) for n, t in model.state_dict().items())


class Mask(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


def test_mask_parametrisations_are_read_off_the_model():
    model = nn.Sequential(nn.Linear(3, 2))
    mask = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    parametrize.register_parametrization(model[0], "weight", Mask(mask))
    graph = gs.export(model, torch.zeros(1, 3))
    assert (
        list(graph.shapes) == ["0.weight"]
        and graph.masks["0.weight"].unpack().astype(int).tolist() == mask.int().tolist()
    )


def test_tied_weights_are_one_parameter_active_in_any_use():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x)[:, :1].expand(-1, 2))

    found = active(Tied(), {"a.weight": [[1, 0], [0, 1]]})
    assert found == {"a.weight": [[1, 0], [0, 1]]}
    assert active(Tied(), {"b.weight": [[0, 1], [1, 0]]}) == {"a.weight": [[0, 1], [1, 0]]}


def test_collapse_is_reported():
    graph = gs.export(
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), torch.zeros(1, 2), {"1.weight": torch.zeros(1, 2).bool()}
    )
    found = gs.sparsity(graph)
    assert found.active == 0 and found.effective == 1 and found.effective_compression == float("inf")
    assert found.collapsed == ("0.weight", "1.weight") and found.direct == pytest.approx(1 / 3)


def test_unused_parameters_are_named_and_not_counted():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.left = nn.Linear(2, 2), nn.Linear(5, 5)

        def forward(self, x):
            return self.used(x)

    found = gs.sparsity(gs.export(Part(), torch.zeros(1, 2), {"left.weight": torch.zeros(5, 5).bool()}))
    assert found.unused == ("left.weight",) and found.connections == 4


def test_many_paths_do_not_wrap():
    graph = gs.export(nn.Sequential(nn.Linear(1, 256), nn.Linear(256, 1)), torch.zeros(1, 1), {})
    assert gs.sparsity(graph).effective == 0


def test_an_empty_row_does_not_take_its_neighbours_value():
    masks = {"0.weight": [[0, 0], [1, 0]], "1.weight": [[1, 0], [0, 0]]}
    assert active(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), masks) == {
        "0.weight": [[0, 0]] * 2,
        "1.weight": [[0, 0]] * 2,
    }

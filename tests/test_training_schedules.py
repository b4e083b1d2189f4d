"""Masks that change while training: gradual pruning, rewinding, SET and RigL, against slow versions by hand."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.errors import GraphsparseError, TargetError
from graphsparse.metrics.regrowth import regrowable
from graphsparse.training.dynamic import Dynamic
from graphsparse.training.gradual import Gradual
from graphsparse.training.schedules import SHAPES, Schedule, rounds

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


def build(seed: int = 0, width: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, 2))


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    (model(X + step).square().sum()).backward()
    optimizer.step()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_schedule_grows_to_its_end_by_its_formula(shape):
    schedule = Schedule(0.9, begin=10, end=45, every=10, initial=0.2, shape=shape)
    by_hand = {
        "cubic": lambda x: 0.9 + (0.2 - 0.9) * (1 - x) ** 3,
        "exponential": lambda x: 1 - 0.8 * (0.1 / 0.8) ** x,
        "linear": lambda x: 0.2 + 0.7 * x,
        "one-shot": lambda x: 0.9,
    }[shape]
    due = [step for step in range(100) if schedule.due(step)]
    assert due == ([10] if shape == "one-shot" else [10, 20, 30, 40, 45])
    assert [schedule.sparsity(step) for step in due] == pytest.approx([by_hand((step - 10) / 35) for step in due])
    assert schedule.sparsity(0) == pytest.approx(0.2) and schedule.sparsity(99) == pytest.approx(0.9)


def test_a_schedule_that_does_not_fit_is_refused():
    for wrong in ({"shape": "square"}, {"final": 1.0}, {"initial": 0.95}, {"every": 0}, {"end": 0}):
        with pytest.raises(TargetError, match="must"):
            Schedule(**{"final": 0.9, "end": 10, **wrong})
    assert [s for s in range(99) if rounds(0.5, 1, 7).due(s)] == [7]


@pytest.mark.parametrize("method", ["magnitude", "lamp", "random/igq", "synflow"])
def test_gradual_pruning_reaches_each_effective_target_and_brings_nothing_back(method):
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    handle, network = gs.keep_masks(model, {}, optimizer), gs.network(model, X)
    pruner = Gradual(handle, network, Schedule(0.8, begin=2, end=8, every=3, initial=0.3), method)
    before, changed = {}, []
    for step in range(10):
        train_step(model, optimizer, step)
        twin = copy.deepcopy(model)
        change = pruner.at(step)
        if change is None:
            continue
        target = pruner.schedule.sparsity(step)
        expected = gs.prune(twin, X, method, sparsity=target, masks=before)
        found = gs.sparsity(gs.export(model, X, handle.masks))
        assert all(torch.equal(handle.masks[name], mask) for name, mask in expected.items())
        assert found.kept == found.active == change.kept == change.active and found.effective <= target + 1e-9
        assert all(not (mask & ~before.get(name, mask)).any() for name, mask in handle.masks.items())
        lost = sum(int(mask.sum()) for mask in before.values()) if before else found.connections
        assert change.dropped + sum(change.died.values()) + change.active == lost
        assert change.died == expected.dropped
        before = handle.masks
        changed.append(step)
    assert changed == [2, 5, 8]
    assert all(not model.get_parameter(name)[~mask].any() for name, mask in handle.masks.items())


def test_dead_connections_are_told_by_parameter():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[9.0, 8.0], [7.0, 6.0]]))
        model[1].weight.copy_(torch.tensor([[5.0, 0.1], [4.0, 0.2]]))
    handle = gs.keep_masks(model, {})
    pruner = Gradual(handle, gs.network(model, torch.ones(1, 2)), Schedule(0.5, begin=1, shape="one-shot"))
    change = pruner.at(1)  # the second hidden unit has no way out: its two weights rank high and are dead
    assert change.died == {"0.weight": 2} and change.active == 4 and "2 died" in str(change)
    assert handle.masks["0.weight"].tolist() == [[True, True], [False, False]]


def test_masks_of_biases_stay_when_kernels_are_pruned():
    model = build()
    handle = gs.keep_masks(model, {"0.bias": torch.arange(8) > 3})
    Gradual(handle, gs.network(model, X), Schedule(0.5, begin=1, shape="one-shot")).at(1)
    assert handle.masks["0.bias"].tolist() == (torch.arange(8) > 3).tolist() and len(handle.masks) == 4


def test_rewinding_takes_early_weights_again_where_they_are_kept():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    handle, network = gs.keep_masks(model, {}, optimizer), gs.network(model, X)
    pruner = Gradual(handle, network, rounds(0.75, count=2, every=4), rewind_to=2)
    early, sparsities = {}, []
    for step in range(1, 10):
        train_step(model, optimizer, step)
        if step == 2:
            early = copy.deepcopy(model.state_dict())
        change = pruner.at(step)
        if change is not None:
            sparsities.append(1 - change.active / change.connections)
            assert not optimizer.state
            for name, tensor in model.state_dict().items():
                mask = handle.masks.get(name, torch.ones(tensor.shape) > 0)
                assert torch.equal(tensor, torch.where(mask, early[name], torch.zeros((), dtype=tensor.dtype)))
    assert sparsities == pytest.approx([0.5, 0.75], abs=0.06)  # what comes alive together is kept together
    with pytest.raises(GraphsparseError, match="rewind to must come before"):
        Gradual(handle, network, Schedule(0.9, begin=1, shape="one-shot"), rewind_to=5).at(1)


def normed() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


SOURCES = {
    "the model": lambda model: gs.network(model, X),
    "a copy": lambda model: gs.network(copy.deepcopy(model), X),
    "a compiled copy": lambda model: gs.network(torch.compile(copy.deepcopy(model)), X),
    "a copy on the meta device": lambda model: gs.network(copy.deepcopy(model).to("meta"), X),
}


def masks_by(kind: str, source: str) -> tuple[dict[str, torch.Tensor], Any]:
    """Masks after two changes by a schedule, and the module that its network was made of."""
    model = normed()
    network, draw = SOURCES[source](model), torch.Generator().manual_seed(1)
    names = {name: p.shape for name, p in model.named_parameters() if p.dim() > 1}
    start = {name: torch.rand(shape, generator=draw) < 0.6 for name, shape in names.items()}
    optimizer, handle = torch.optim.SGD(model.parameters(), 0.05), gs.keep_masks(model, start if kind == "rigl" else {})
    schedule: Gradual | Dynamic
    if kind == "rigl":
        schedule = Dynamic(handle, network, every=3, end=9, only_live=False, fraction=0.5)
    else:
        data = {"data": [(X, torch.arange(5) % 2)]} if kind == "snip" else {}
        schedule = Gradual(handle, network, Schedule(0.7, begin=3, end=6, every=3), kind, **data)
    for step in range(1, 7):
        train_step(model, optimizer, step)
        schedule.at(step)
    return handle.masks, network.model


@pytest.mark.parametrize("kind", ["magnitude", "synflow", "snip", "rigl"])
def test_what_is_trained_is_pruned_whatever_the_network_was_made_of(kind):
    expected, _ = masks_by(kind, "the model")
    for source in list(SOURCES)[1:]:
        found, made_of = masks_by(kind, source)
        assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
        if source == "a copy":  # it is not touched
            state = made_of.state_dict()
            assert all(torch.equal(state[name], tensor) for name, tensor in normed().state_dict().items())


def test_a_network_of_another_model_is_refused():
    model = build()
    handle = gs.keep_masks(model, {})
    for other in (nn.Sequential(nn.Linear(6, 3)), nn.Sequential(*build(), nn.Linear(2, 2)), build(width=9)):
        with pytest.raises(GraphsparseError, match="a network of the model that is trained, or of a copy of it, at "):
            Gradual(handle, gs.network(other, X), Schedule(0.5, end=3))
    program, stale = (gs.network(torch.export.export(each.eval(), (X,))) for each in (model, copy.deepcopy(model)))
    assert Gradual(handle, program, Schedule(0.5, begin=1, shape="one-shot")).at(1).active == 49
    with pytest.raises(GraphsparseError, match="must have the parameters that are trained"):
        Gradual(handle, stale, Schedule(0.5, end=3))


def dense_gradients(model: nn.Module, masks: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
    twin = copy.deepcopy(model)
    loss = twin(X + step).square().sum()
    names = list(masks)
    return dict(zip(names, torch.autograd.grad(loss, [twin.get_parameter(name) for name in names]), strict=True))


def rigl_by_hand(model, masks, gradients, share):
    """RigL as published, one connection after the other."""
    result = {}
    for name, mask in masks.items():
        weight = model.get_parameter(name).detach()
        kept = sorted(zip(*np.nonzero(mask.numpy())), key=lambda at: abs(float(weight[at])))
        left = mask.clone()
        for at in kept[: int(share * len(kept))]:
            left[at] = False
        free = sorted(zip(*np.nonzero(~left.numpy())), key=lambda at: -abs(float(gradients[name][at])))
        for at in free[: int(share * len(kept))]:
            left[at] = True
        result[name] = left
    return result


def test_rigl_as_published_drops_and_grows_what_a_loop_by_hand_does():
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    network = gs.network(model, X)
    handle = gs.keep_masks(model, gs.prune(network, "random/erk", compression=3), optimizer)
    growing = Dynamic(handle, network, every=3, end=9, only_live=False)
    for step in range(1, 10):
        before, gradients = handle.masks, dense_gradients(model, handle.masks, step)
        train_step(model, optimizer, step)
        twin = copy.deepcopy(model)
        change = growing.at(step)
        assert (change is not None) == (step % 3 == 0)
        if change is not None:
            share = 0.3 * (1 + math.cos(math.pi * step / 9)) / 2
            expected = rigl_by_hand(twin, before, gradients, share)
            assert all(torch.equal(handle.masks[name], mask) for name, mask in expected.items())
            assert change.kept == sum(int(mask.sum()) for mask in before.values())
            assert (step == 9) == (change.grown == 0)
    assert not any(each.dense is not None for each in handle._kept.values())


@pytest.mark.parametrize("grow", ["gradient", "random"])
@pytest.mark.parametrize("density", [0.2, 0.5])
def test_only_what_is_active_grows_and_the_budget_of_the_dead_goes_to_the_living(grow, density):
    model = build(width=12)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    network = gs.network(model, X)
    draw = torch.Generator().manual_seed(3)
    masks = {n: torch.rand(p.shape, generator=draw) < density for n, p in model.named_parameters() if p.dim() > 1}
    handle = gs.keep_masks(model, masks, optimizer)
    total = sum(int(mask.sum()) for mask in masks.values())
    growing = Dynamic(handle, network, every=1, end=100, fraction=0.4, grow=grow, seed=1)
    died = 0
    for step in range(1, 6):
        train_step(model, optimizer, step)
        before, owed = handle.masks, growing.owed
        change = growing.at(step)
        after, dead = handle.masks, sum(change.died.values())
        died += dead
        assert change.kept == change.active == gs.sparsity(gs.export(model, X, after)).active == total - growing.owed
        assert change.grown == change.dropped + dead + owed - growing.owed
        if growing.owed:  # there was no other place for it
            assert not any(places.any() for places in regrowable(gs.export(network, after)).values())
        assert not any(model.get_parameter(name)[mask & ~before[name]].any() for name, mask in after.items())
    assert died > 0 or density == 0.5


def test_each_of_what_grows_would_be_active_alone():
    model = build()
    network = gs.network(model, X)
    handle = gs.keep_masks(model, gs.prune(network, "random/erk", compression=2))
    before = handle.masks
    growing = Dynamic(handle, network, every=1, end=10, grow="random")
    growing.at(1)
    stay = {name: mask & before[name] for name, mask in handle.masks.items()}
    grown = [(name, at) for name in before for at in zip(*np.nonzero((handle.masks[name] & ~before[name]).numpy()))]
    assert len(grown) > 3 and growing.owed == 0
    for name, at in grown:
        alone = {each: mask.clone() for each, mask in stay.items()}
        alone[name][at] = True
        assert gs.effective_masks(gs.export(network, alone))[name][at]


def test_a_seed_decides_random_growth():
    def grown(seed: int) -> torch.Tensor:
        model = build()
        network = gs.network(model, X)
        handle = gs.keep_masks(model, gs.prune(network, "random/erk", compression=3))
        Dynamic(handle, network, every=1, end=10, grow="random", only_live=False, seed=seed).at(1)
        return torch.cat([mask.reshape(-1) for mask in handle.masks.values()])

    assert torch.equal(grown(1), grown(1)) and not torch.equal(grown(1), grown(2))


def test_masks_stay_where_no_path_would_be_left():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[5.0], [1.0]]))
        model[1].weight.copy_(torch.tensor([[1.0, 5.0]]))
    full = {"0.weight": torch.ones(2, 1) > 0, "1.weight": torch.ones(1, 2) > 0}
    handle = gs.keep_masks(model, full)
    change = Dynamic(handle, gs.network(model, torch.ones(1, 1)), every=1, end=1000, fraction=0.6, grow="random").at(1)
    assert change.collapsed and change.active == 4 and "no path would be left" in str(change)
    assert all(mask.all() for mask in handle.masks.values())


def test_gradients_are_collected_whole_over_several_backward_passes():
    model = build()
    masks = {"0.weight": torch.rand(8, 6) < 0.4}
    handle = gs.keep_masks(model, masks)
    handle.collect()
    expected = torch.zeros(8, 6)
    for step in range(3):
        expected += dense_gradients(model, masks, step)["0.weight"]
        model(X + step).square().sum().backward()
    assert torch.allclose(handle.collected()["0.weight"], expected, rtol=1e-4)
    assert torch.allclose(model[0].weight.grad, torch.where(masks["0.weight"], expected, 0.0), rtol=1e-4)
    assert handle.collected() == {}


def test_settings_that_do_not_fit_are_refused():
    model = build()
    network = gs.network(model, X)
    handle = gs.keep_masks(model, gs.prune(network, "magnitude", compression=2))
    for wrong in ({"grow": "there"}, {"fraction": 1.0}, {"every": 0}):
        with pytest.raises(GraphsparseError, match="must be"):
            Dynamic(handle, network, end=10, **wrong)
    with pytest.raises(GraphsparseError, match="growth by gradient must follow a backward pass"):
        Dynamic(handle, network, every=1, end=10).at(1)

"""Pruners to effective and direct targets on zoo models."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.utils._pytree import tree_map

import graphsparse as gs
from graphsparse import zoo
from graphsparse.errors import TargetError
from graphsparse.pruning.methods import METHODS


def batches(name: str):
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, *zoo.input_shape(name), generator=generator), torch.arange(8) % 10) for _ in range(2)]


# uniform_plus never prunes its first layer and a fifth of its last: beyond some compression it is one group of ties
@pytest.mark.parametrize(
    ("method", "compression"), [(m, c) for m in METHODS for c in (10, 300) if c < 300 or "plus" not in m]
)
def test_every_pruner_reaches_its_effective_target(method, compression):
    model, example = zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28)
    before = copy.deepcopy(model.state_dict())
    masks = gs.prune(model, example, method, compression=compression, data=batches("lenet300100"))
    assert masks.effective_compression <= compression < masks.effective_compression * 1.02
    again = gs.effective_masks(gs.export(model, example, masks))
    assert all(torch.equal(again[name], mask) for name, mask in masks.items())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("method", ["random/igq", "synflow", "lamp"])
def test_convolutional_and_direct(method):
    model, example = zoo.build("lenet5"), torch.zeros(1, 3, 32, 32)
    masks = gs.prune(model, example, method, sparsity=0.95)
    assert 0.945 < 1 - masks.active / masks.connections <= 0.95
    direct = gs.prune(model, example, method, sparsity=0.95, effective=False)
    assert direct.active + sum(direct.dropped.values()) == math.ceil(0.05 * direct.connections)


@pytest.mark.parametrize("method", ["lamp", "magnitude"])
def test_what_was_dropped_on_the_way_to_an_effective_target(method):
    """So many connections kept directly leave the same active ones."""
    model, example = zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28)
    masks = gs.prune(model, example, method, compression=400)
    kept = masks.active + sum(masks.dropped.values())
    direct = gs.prune(model, example, method, sparsity=1 - kept / masks.connections, effective=False)
    assert direct.dropped == masks.dropped and all(torch.equal(direct[name], masks[name]) for name in masks)


def test_the_same_seed_gives_the_same_masks(monkeypatch):
    model, example = zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28)
    one, two, three = (gs.prune(model, example, "random/igq", compression=50, seed=seed) for seed in (1, 1, 2))
    monkeypatch.setenv("GRAPHSPARSE_THREADS", "1")
    serial = gs.prune(model, example, "random/igq", compression=50, seed=1)
    same = [tree_map(lambda a, b: torch.equal(a, b), dict(one), dict(other)) for other in (two, serial, three)]
    assert all(same[0].values()) and all(same[1].values()) and not any(same[2].values())


def test_targets_that_cannot_be_reached():
    model, example = zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28)
    with pytest.raises(TargetError, match="highest effective compression of this ranking is [0-9,.]+ "):
        gs.prune(model, example, "random", compression=200_000)
    with pytest.raises(TargetError, match="highest direct compression that leaves a path"):
        gs.prune(model, example, "random", compression=100_000, effective=False)
    for arguments in ({}, {"sparsity": 0.5, "compression": 2}, {"sparsity": 1.0}, {"compression": 0.5}):
        with pytest.raises(TargetError):
            gs.prune(model, example, "magnitude", **arguments)
    with pytest.raises(TargetError, match="known name"):
        gs.prune(model, example, "nope", sparsity=0.5)

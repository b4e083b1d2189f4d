"""A bias or a scale is put on copies of its units; copies whose units nothing else reads are folded away at the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse import zoo
from graphsparse.blocks import Gate, Wiring
from tests.judge import assert_exact

rows = torch.rand(3, 4).double()


class Written(nn.Module):
    """Two layers with a scale ``g`` and a shift ``b`` of five features, and a forward that uses them."""

    def __init__(self, forward):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5, bias=False), nn.Linear(5, 2, bias=False)
        self.g, self.b = nn.Parameter(torch.rand(5) + 0.5), nn.Parameter(torch.rand(5) + 0.5)
        self.written = forward

    def forward(self, x):
        return self.written(self, x)


READ_ONCE = {
    "scaled and shifted": (lambda m, x: m.last(m.first(x) * m.g + m.b), [4, 5, 2]),
    "scaled twice": (lambda m, x: m.last(m.first(x) * m.g * m.g), [4, 5, 2]),
    "an output": (lambda m, x: m.first(x) * m.g, [4, 5]),
    "two parts": (lambda m, x: m.last(torch.cat([m.first(x)[:, :2] + m.b[:2], m.first(-x)[:, 2:]], 1) * m.g), [4, 5, 5, 2]),
    "rows exchanged": (lambda m, x: m.last(m.first(x).flip(-1) * m.g), [4, 5, 2]),
}  # fmt: skip
READ_TWICE = {
    "before and after": (lambda m, x: m.last((y := m.first(x)) * m.g + y.flip(-1)), [4, 5, 5, 5, 2]),
    "an output, and scaled": (lambda m, x: ((y := m.first(x)), m.last(y * m.g)), [4, 5, 5, 2]),
    "scaled two ways": (lambda m, x: m.last((y := m.first(x)) * m.g + (y + m.b).flip(-1)), [4, 5, 5, 5, 5, 2]),
    "a choice, and what it was chosen from": (
        lambda m, x: m.last(torch.where(torch.arange(5) < 2, y := m.first(x), 0.0) * m.g + y.flip(-1) * m.g), [4, 5, 2, 5, 2, 2]),
    "inputs": (lambda m, x: m.last(torch.cat([x, x[:, :1]], 1) * m.g), [4, 5, 2]),
}  # fmt: skip
MODELS = {**READ_ONCE, **READ_TWICE}


@pytest.mark.parametrize("name", MODELS)
def test_only_what_something_else_reads_keeps_its_copies(name):
    forward, sizes = MODELS[name]
    graph = gs.export(Written(forward).double(), rows[:1], {})
    assert [len(layer) for layer in graph.layers] == sizes


@pytest.mark.parametrize("name", MODELS)
def test_folded_networks_are_exact(name):
    assert_exact(Written(MODELS[name][0]), (rows,))


@pytest.mark.parametrize("name", MODELS)
def test_stages_are_on_units_of_their_own_layer_and_inputs_have_none(name):
    graph = gs.export(Written(MODELS[name][0]).double(), rows[:1], {})
    for layer in graph.layers:
        units = np.concatenate([np.empty(0, np.int32), *(stage.units for stage in layer.stages)])
        assert ((units >= layer.start) & (units < layer.stop)).all()
        assert not (layer.operation == "input" and layer.stages)


def test_stages_keep_the_order_in_which_the_model_applies_them():
    graph = gs.export(Written(lambda m, x: m.last((m.first(x) * m.g + m.b) * m.g)).double(), rows[:1], {})
    (_, middle, _) = graph.layers
    assert [stage.parameter for stage in middle.stages] == ["g", "b", "g"]


def test_nothing_is_left_to_fold_in_a_residual_network():
    graph = gs.export(zoo.build("resnet18"), torch.zeros(1, 3, 64, 64), {})
    reads = np.zeros(graph.n_units, int)
    reads[graph.sinks] += 1
    for block in (block for layer in graph.layers for block in layer.blocks):
        ids = np.concatenate([block.lefts, block.rights]) if isinstance(block, Gate) else block.sources.ravel()
        np.add.at(reads, ids[ids >= 0], 1)
    for layer in graph.layers:
        wires = layer.blocks[0] if layer.blocks else None
        if isinstance(wires, Wiring) and len(wires.sources) == len(layer):
            assert (reads[wires.sources] > 1).any(), layer

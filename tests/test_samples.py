"""The axis of samples: what looks like a batch but is time is found by runs with two samples."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.capture.samples import axis_of_samples
from tests.judge import assert_exact


class Recurrent(nn.Module):
    """Layers as torch makes them by default: (steps, samples, features)."""

    def __init__(self, kind: type[nn.Module]):
        super().__init__()
        self.body, self.head = kind(3, 3), nn.Linear(3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[0][-1])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.MultiheadAttention(4, 2)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return self.body(x, memory, memory)[0]


class Noisy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.randn_like(x)


class Counting(nn.Module):
    """Writes into its buffer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return self.layer(x)


class Contrasting(nn.Module):
    """Every sample is compared with every other, as in CLIP."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.layer(x)
        return made @ made.T


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 1, 3), (4, 3)])
def test_steps_of_time_are_no_samples(kind, shape):
    graph = gs.export(Recurrent(kind), torch.zeros(shape), {}, resolution="channel")
    assert gs.sparsity(graph).effective == 0
    counted = "no axis counts samples" if len(shape) == 2 else "axis 1 counts samples"
    assert graph.inputs[0].reason == f"a floating input; {counted}"


def test_attention_over_the_first_axis_is_exact():
    assert_exact(Attending(), (torch.zeros(4, 2, 4), torch.zeros(3, 2, 4)))


def test_weights_of_zero_hide_nothing():
    model = Recurrent(nn.RNN)
    nn.init.zeros_(model.body.weight_hh_l0)
    assert axis_of_samples(model, (torch.zeros(4, 2, 3),), {}) == 1


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Linear(3, 2), (4, 3)),
        (nn.LSTM(3, 3, batch_first=True, bidirectional=True), (4, 5, 3)),
        (nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), (2, 2, 4)),
        (nn.Sequential(nn.Linear(3, 2), nn.Flatten(0)), (4, 6, 3)),
        (nn.CosineSimilarity(0), (1, 3)),  # takes another number of inputs: runs do not tell
        (Noisy(), (4, 3)),
        (Counting(), (4, 3)),
        (Contrasting(), (4, 3)),
    ],
)
def test_samples_that_do_not_influence_each_other(model, shape):
    before = {name: each.clone() for name, each in model.state_dict().items()}
    state = torch.random.get_rng_state()
    assert axis_of_samples(model.eval(), (torch.zeros(shape),), {}) == 0
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())

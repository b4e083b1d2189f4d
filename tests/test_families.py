"""Small faithful models of every convolutional and recurrent family, unmodified, against the gradients of torch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.families import LIBRARY, MODELS, Recurrent
from tests.judge import assert_exact


@pytest.mark.parametrize("name", MODELS)
def test_convolutional_family_is_exact(name):
    model, example = MODELS[name]
    assert_exact(copy.deepcopy(model), (example,))  # other tests use the models too


RECURRENT = [
    (nn.RNN, {}), (nn.LSTM, {}), (nn.GRU, {}), (nn.LSTM, {"bidirectional": True}), (nn.GRU, {"bidirectional": True}),
    (nn.LSTM, {"num_layers": 2}), (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "settings"), RECURRENT, ids=[f"{k.__name__}-{'-'.join(s)}" for k, s in RECURRENT])
def test_recurrent_family_is_exact(kind, settings):
    assert_exact(Recurrent(kind, **settings), (torch.zeros(2, 5, 3),))


def test_recurrent_cells_are_exact():
    class Stepped(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.gru, self.head = nn.LSTMCell(3, 4), nn.GRUCell(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            h, c, g = x.new_zeros(x.size(0), 4), x.new_zeros(x.size(0), 4), x.new_zeros(x.size(0), 4)
            for step in x.unbind(1):
                h, c = self.lstm(step, (h, c))
                g = self.gru(h, g)
            return self.head(g)

    assert_exact(Stepped(), (torch.zeros(2, 4, 3),))


@pytest.mark.parametrize("name", LIBRARY)
def test_library_models_are_exact(name):
    transformers = pytest.importorskip("transformers")
    settings, example = LIBRARY[name]
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForImageClassification")(
        getattr(transformers, f"{name}Config")(num_labels=4, **settings)
    )
    graph = assert_exact(model, (example,))
    assert graph.coverage.conservative == ()


@pytest.mark.parametrize("name", ["ConvNext", "PoolFormer", "MobileViT"])
def test_library_models_are_exact_with_norm_statistics(name):
    """Those whose normalisations have statistics at inference, unlike batch norm."""
    transformers = pytest.importorskip("transformers")
    from tests.mixed import Called, compare, smooth

    settings, example = LIBRARY[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(num_labels=4, **settings)
    model = Called(getattr(transformers, f"{name}ForImageClassification")(config))
    many, truly, graph = compare(model, {"pixel_values": smooth(*example.shape)}, 3, statistics=True)
    assert many == 0 and graph.has_norm_statistics, f"{many} too many, where {truly} are active"

"""Effective masks against torch's gradients: every form of convolution, pooling, skip and movement."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import graphsparse as gs
from graphsparse import zoo
from tests.gradients import assert_idempotent, assert_judged, random_masks
from tests.models import Random, Residual

CONVOLUTIONS = {
    "padded": (nn.Conv2d(3, 4, 3, padding=1), (1, 3, 6, 7)),
    "unpadded": (nn.Conv2d(3, 4, 3), (1, 3, 6, 7)),
    "stride": (nn.Conv2d(3, 4, 3, stride=2, padding=1), (1, 3, 7, 8)),
    "uneven": (nn.Conv2d(3, 4, (3, 1), stride=(1, 2), padding=(2, 0)), (1, 3, 5, 6)),
    "dilated": (nn.Conv2d(2, 3, 3, dilation=2, padding=2), (1, 2, 8, 8)),
    "groups": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (1, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), (1, 4, 5, 5)),
    "same": (nn.Conv2d(2, 3, 4, padding="same"), (1, 2, 6, 6)),
    "valid": (nn.Conv2d(2, 3, 2, padding="valid"), (1, 2, 4, 4)),
    "reflect": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (1, 2, 5, 5)),
    "circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (1, 2, 5, 5)),
    "replicate": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"), (1, 2, 5, 5)),
    "only padding": (nn.Conv2d(2, 3, 5, padding=4), (1, 2, 2, 2)),
    "one axis": (nn.Conv1d(3, 4, 3, stride=2, padding=1, dilation=2), (1, 3, 11)),
    "three axes": (nn.Conv3d(2, 3, 2, stride=2, padding=1), (1, 2, 4, 4, 4)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (1, 3, 4, 4)),
    "transposed groups": (nn.ConvTranspose2d(4, 6, 2, stride=3, groups=2), (1, 4, 3, 3)),
    "transposed one axis": (nn.ConvTranspose1d(3, 4, 4, stride=2, dilation=2), (1, 3, 5)),
    "transposed three axes": (nn.ConvTranspose3d(2, 2, 2, stride=2), (1, 2, 2, 2, 2)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name):
    layer, shape = CONVOLUTIONS[name]
    channels = layer(torch.zeros(shape)).shape[1]
    after = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)](channels, 3, 1)
    before = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)](shape[1], shape[1], 3, padding=1)
    assert_judged(nn.Sequential(before, nn.ReLU(), layer, nn.ReLU(), after, nn.Flatten()), shape)


POOLS = {
    "average": nn.AvgPool2d(2),
    "average with padding": nn.AvgPool2d(3, stride=2, padding=1),
    "ceil": nn.AvgPool2d(2, ceil_mode=True),
    "adaptive": nn.AdaptiveAvgPool2d((2, 3)),
    "global": nn.AdaptiveAvgPool2d(1),
}


@pytest.mark.parametrize("name", POOLS)
def test_average_pooling(name):
    assert_judged(
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), POOLS[name], nn.Conv2d(3, 4, 1), nn.Flatten()), (1, 2, 7, 7)
    )


@pytest.mark.parametrize("pair", [(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1)), (nn.AdaptiveMaxPool2d(2), nn.AdaptiveAvgPool2d(2)),
                                  (nn.MaxPool2d(2, dilation=2), None)])  # fmt: skip
def test_maximum_pooling_is_as_average(pair):
    nets = [nn.Sequential(nn.Conv2d(2, 3, 3), pool or pair[0], nn.Flatten(), nn.LazyLinear(4)) for pool in pair]
    shape = (1, 2, 8, 8)
    for net in nets:
        net(torch.zeros(shape))
    first, second = (gs.export(net, torch.zeros(shape), {}) for net in nets)
    masks = random_masks(first.shapes, 0.1, 0)
    found, other = (gs.effective_masks(graph.with_masks(masks)) for graph in (first, second))
    assert all(torch.equal(found[name], other[name]) for name in found)


def test_skips_sharing_inputs_and_outputs():
    assert_judged(Residual(), (1, 2, 7, 7), (1, 5))


@pytest.mark.parametrize("name", ["lenet300100", "lenet5"])
def test_zoo(name):
    assert_judged(zoo.build(name), (1, *zoo.input_shape(name)), densities=(0.1, 0.02))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 95), min_size=1, max_size=4), st.integers(0, 1000))
def test_random_networks(plan, seed):
    model = Random(plan)
    try:
        model(torch.zeros(1, 4, 9, 9))
    except RuntimeError:
        return  # the plan shrank the image away
    assert_judged(model, (1, 4, 9, 9), densities=(0.5, 0.15), seed=seed)


def test_effective_masks_are_idempotent():
    graph = gs.export(zoo.build("lenet5"), torch.zeros(1, 3, 32, 32), {})
    for density in (0.5, 0.05, 0.01):
        assert_idempotent(graph.with_masks(random_masks(graph.shapes, density, 3)))


@pytest.mark.parametrize("batch", [2, 5])
def test_any_batch_size_gives_the_same_graph(batch):
    model = zoo.build("lenet5")
    one, many = (gs.export(model, torch.zeros(n, 3, 32, 32), {}) for n in (1, batch))
    assert one.n_units == many.n_units
    assert (one.adjacency() != many.adjacency()).nnz == 0


def test_a_batch_size_written_into_the_model_makes_no_units():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

        def forward(self, x):
            return self.second(self.first(x).view(3, 8))

    fixed = gs.export(Fixed(), torch.zeros(3, 1, 4, 4), {})
    plain = gs.export(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), torch.zeros(3, 1, 4, 4), {})
    assert len(fixed.sources) == 16 and len(fixed.sinks) == 3
    for density in (0.5, 0.2):
        masks = random_masks(fixed.shapes, density, 1)
        found = list(gs.effective_masks(fixed.with_masks(masks)).values())
        judged = list(
            gs.effective_masks(plain.with_masks(dict(zip(plain.shapes, masks.values(), strict=True)))).values()
        )
        assert all(torch.equal(a, b) for a, b in zip(found, judged, strict=True))

"""The sweep as torch operations against the compiled one; `test_vectors` holds it to the reference too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import graphsparse as gs
from graphsparse.errors import ArgumentError, MaskError
from graphsparse.passes.liveness import active_connections
from graphsparse.training.callbacks.loop import Loop
from graphsparse.training.device_algebra import OnDevice
from graphsparse.training.on_device import DeviceSweep
from tests.families import MODELS, Recurrent
from tests.small_graphs import graphs

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
NETWORKS = {
    **MODELS,
    "lstm": (Recurrent(nn.LSTM, bidirectional=True), torch.zeros(2, 4, 3)),
    "gru": (Recurrent(nn.GRU), torch.zeros(2, 4, 3)),
}


def agree(graph: gs.LayeredGraph, device: str) -> None:
    """The active connections found on the device are those that the compiled sweep finds."""
    masks = {name: torch.from_numpy(graph.kept[name].unpack()).to(device) for name in graph.shapes}
    for swept in (DeviceSweep(graph, device, replay=replay) for replay in {False, device == "cuda"}):
        found, expected = swept.effective_masks(masks), active_connections(graph)
        for name in graph.shapes:
            assert found[name].device.type == device and found[name].dtype == torch.bool
            np.testing.assert_array_equal(found[name].cpu().numpy(), np.asarray(expected[name]), err_msg=name)
        assert swept.sparsity(masks).rows == gs.sparsity(graph).rows


@pytest.mark.parametrize("device", DEVICES)
def test_small_graphs_with_products_shared_kernels_and_masked_biases(device):
    for graph in graphs():
        agree(graph, device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NETWORKS)
def test_families(name, device):
    network = gs.network(*NETWORKS[name])
    for resolution in ("unrolled", "channel"):
        graph = gs.export(network, {}, resolution=resolution)
        for seed, density in enumerate((0.5, 0.2)):
            generator = torch.Generator().manual_seed(seed)
            masks = {n: torch.rand(shape, generator=generator) < density for n, shape in graph.shapes.items()}
            agree(graph.with_masks(masks), device)


class Product(nn.Module):
    """A product of three factors: each reaches the output as far as the product of the others is not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(4, 3, bias=False) for _ in range(3))
        self.head = nn.Linear(3, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.a(x) * self.b(x) * self.c(x))


def test_a_product_of_products():
    graph = gs.export(Product(), torch.zeros(1, 4), {})
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        masks = {name: torch.rand(shape, generator=generator) < 0.5 for name, shape in graph.shapes.items()}
        agree(graph.with_masks(masks), "cpu")
    assert gs.sparsity(graph).active == graph.n_connections


def test_what_no_unit_collects_is_left_out():
    algebra = OnDevice("cpu")
    vector = algebra.vector(3)
    algebra._add(vector, np.array([0, -1, -2, 2]), torch.tensor([3.0, 1, 1, 0]))
    assert algebra.units(vector).tolist() == [True, False, False]
    assert algebra._read(vector, np.array([-1, -2, 0])).tolist() == [0, 0, 1]


def test_on_the_cpu_nothing_is_replayed():
    with pytest.raises(ArgumentError, match="a sweep must be on a CUDA device to be replayed"):
        DeviceSweep(gs.export(nn.Linear(3, 2), torch.zeros(1, 3), {}), "cpu", replay=True)


def test_masks_of_each_use_of_a_shared_kernel():
    """A parameter that two modules share, one of which masks it further."""
    first, second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, nn.ReLU(), second)
    keep = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) < 0.4
    prune.custom_from_mask(second, "weight", keep)
    graph = gs.export(model, torch.zeros(1, 6))
    assert graph.uses
    agree(graph, "cpu")


def test_masks_that_do_not_fit_are_refused():
    swept = DeviceSweep(gs.export(nn.Linear(3, 2), torch.zeros(1, 3), {}), "cpu")
    with pytest.raises(MaskError, match="masks must go by the graph's parameters"):
        swept.effective_masks({"wieght": torch.ones(2, 3).bool()})
    with pytest.raises(MaskError, match=r"a mask must be a bool tensor of shape \(2, 3\)"):
        swept.effective_masks({"weight": torch.ones(2, 3)})
    with pytest.raises(MaskError, match="masks must lie on the device of the sweep"):
        swept.effective_masks({"weight": torch.ones(2, 3, device="meta").bool()})


def test_a_loop_logs_what_is_swept_on_the_device():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.ones(1, 6)
    masks = {name: torch.rand_like(p) < 0.2 for name, p in model.named_parameters() if p.dim() > 1}
    with gs.keep_masks(model, masks) as handle:
        network = gs.network(model, x)
        compiled = Loop(handle, network, by_layer=True)
        on_device = Loop(handle, network, by_layer=True, sweep=DeviceSweep(gs.export(network, {}), "cpu"))
        numbers = on_device.measure()
        assert numbers == compiled.measure()
        assert numbers["sparsity/effective"] > numbers["sparsity/direct"] > 0.5

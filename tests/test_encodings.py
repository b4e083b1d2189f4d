"""The bipartite graphs of parameters: rolled, by channel and unrolled, against loops over kernels and dense Jacobians."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.errors import ArgumentError, MaskError
from graphsparse.metrics.encodings import ENCODINGS, unrolled_units, weighted_edges
from graphsparse.metrics.parts import Part, Swept
from tests.small_graphs import Shared, edges_on_paths, graphs, steps


def masked(model: nn.Module, x: torch.Tensor, density: float = 0.5, seed: int = 0, **options) -> gs.LayeredGraph:
    generator = torch.Generator().manual_seed(seed)
    masks = {n: torch.rand(p.shape, generator=generator) < density for n, p in model.named_parameters() if p.dim() > 1}
    return gs.export(model, x, masks, **options)


def rolled_by_hand(mask: np.ndarray, groups: int, transposed: bool) -> set[tuple[int, int]]:
    """Left nodes (input channel, tap) and right nodes (output channel) of a convolution, as numbers."""
    mask = mask.reshape(*mask.shape[:2], -1)
    taps, edges = mask.shape[2], set()
    for a, b, k in zip(*(axis.tolist() for axis in mask.nonzero())):
        if transposed:  # stored (inputs, outputs of a group, taps)
            group, channel = a // (len(mask) // groups), a
            out = group * mask.shape[1] + b
        else:  # stored (outputs, inputs of a group, taps)
            group, out = a // (len(mask) // groups), a
            channel = group * mask.shape[1] + b
        edges.add((channel * taps + k, out))
    return edges


CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3, bias=False), nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, bias=False),
    nn.Conv2d(4, 8, 3, groups=2, padding=1, bias=False), nn.Conv2d(4, 4, 3, groups=4, stride=2, bias=False),
    nn.Conv2d(4, 8, 3, groups=4, dilation=2, padding=2, bias=False),
    nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, bias=False),
    nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, bias=False),
]  # fmt: skip


@pytest.mark.parametrize("model", CONVOLUTIONS, ids=str)
def test_kernels_of_convolutions(model):
    """Rolled against loops over the weight; unrolled against the Jacobian of the layer itself."""
    size = 6
    graph = masked(model, torch.zeros(1, 4, size, size), seed=3)
    mask = graph.kept["weight"].unpack()
    edges = rolled_by_hand(mask, model.groups, model.transposed)
    taps = mask[0, 0].size
    rolled = gs.biadjacency(graph, "weight", "rolled")
    assert rolled.shape == (4 * taps, model.out_channels) and rolled.dtype == bool
    assert set(zip(*(ids.tolist() for ids in rolled.nonzero()))) == edges
    by_channel = gs.biadjacency(graph, "weight", "channel")
    assert by_channel.shape == (4, model.out_channels)
    assert set(zip(*(ids.tolist() for ids in by_channel.nonzero()))) == {(left // taps, out) for left, out in edges}
    jacobian = jacobian_of(model, graph, size)
    unrolled = gs.biadjacency(graph, "weight", "unrolled", weighted=True, weights={"weight": model.weight})
    left, right = unrolled_units(graph, "weight")
    dense = np.zeros_like(jacobian)
    dense[np.ix_(left - graph.layers[0].start, right - graph.layers[1].start)] = unrolled.toarray()
    np.testing.assert_allclose(dense, jacobian, atol=1e-6)


def jacobian_of(model: nn.Module, graph: gs.LayeredGraph, size: int) -> np.ndarray:
    weight = model.weight.detach() * torch.from_numpy(graph.kept["weight"].unpack())
    call = lambda x: torch.func.functional_call(model, {"weight": weight}, (x,))
    rows = torch.eye(4 * size * size).reshape(-1, 4, size, size)
    return call(rows).flatten(1).detach().numpy()


@pytest.mark.parametrize("kernel, stride, padding, dilation", list(product((1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2))))
def test_the_closed_form_of_unrolled_edges(kernel, stride, padding, dilation):
    """The sum over kept taps of the number of positions at which the tap meets a real input element."""
    size, model = 6, nn.Conv2d(2, 3, kernel, stride, padding, dilation, bias=False)
    graph = masked(model, torch.zeros(1, 2, size, size), 0.6, kernel)
    places = range((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
    meets = [sum(0 <= at * stride - padding + tap * dilation < size for at in places) for tap in range(kernel)]
    expected = sum(meets[y] * meets[x] for _, _, y, x in zip(*graph.kept["weight"].unpack().nonzero()))
    assert gs.biadjacency(graph, "weight", "unrolled").nnz == expected


def test_unrolled_edges_are_those_of_the_graph():
    """Also where a kernel is used twice, behind products, under masked biases; kept and active."""
    for graph in graphs():
        if graph.resolution != "unrolled":
            continue
        active = {name: mask.numpy() for name, mask in gs.effective_masks(graph).items()}
        for name in graph.shapes:
            left, right = unrolled_units(graph, name)
            every = [step for step in steps(graph) if step[2] == name]
            for part in ("kept", "active"):
                found = gs.biadjacency(graph, name, "unrolled", part=part)
                rows, columns = found.nonzero()
                expected = {step[:2] for step in every}
                if part == "active":
                    expected &= edges_on_paths(graph)
                assert set(zip(left[rows].tolist(), right[columns].tolist())) == expected
            assert gs.biadjacency(graph, name, "rolled", part="active").nnz == active[name].sum()


class Tied(nn.Module):
    """A table that is embedding and head, a layer with three kernels in one parameter, and one over a recurrence."""

    def __init__(self):
        super().__init__()
        self.table, self.attention = nn.Embedding(7, 4), nn.MultiheadAttention(4, 2, batch_first=True)
        self.lstm, self.head = nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 7, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        x = self.table(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.lstm(x)[0])


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
def test_a_connection_is_one_rolled_edge_however_its_parameter_is_read(resolution):
    graph = masked(Tied().eval(), torch.zeros(1, 3).long(), resolution=resolution)
    shapes = {
        "table.weight": (7, 4), "attention.in_proj_weight": (4, 12), "attention.out_proj.weight": (4, 4),
        "lstm.weight_ih_l0": (4, 16), "lstm.weight_hh_l0": (4, 16),
    }  # fmt: skip
    for part, masks in (("kept", graph.kept), ("active", gs.effective_masks(graph))):
        for name, shape in shapes.items():
            mask = np.asarray(masks[name])
            found = gs.biadjacency(graph, name, "rolled", part=part)
            assert found.shape == shape and found.nnz == mask.sum()
            dense = mask if name == "table.weight" else mask.T
            np.testing.assert_array_equal(np.sort(found.toarray().sum(0)), np.sort(dense.sum(0)))
            np.testing.assert_array_equal(gs.biadjacency(graph, name, "channel", part=part).toarray(), found.toarray())


def test_weights_of_each_encoding():
    """One kept weight is zero: it is an edge all the same."""
    weight = torch.arange(12.0).reshape(2, 1, 2, 3) - 2
    model = nn.Conv2d(1, 2, (2, 3), bias=False)
    graph = gs.export(model, torch.zeros(1, 1, 2, 3), {"weight": weight > -1.5})
    with pytest.raises(MaskError, match="weights must have the shape of their parameter, at weight; received"):
        gs.biadjacency(graph, "weight", weights={"weight": weight[0]})
    rolled, channel, unrolled = (
        gs.biadjacency(graph, "weight", each, weighted=True, weights={"weight": weight})
        for each in ("rolled", "channel", "unrolled")
    )
    kept = torch.where(weight > -1.5, weight, 0.0).numpy()
    np.testing.assert_array_equal(rolled.toarray(), kept.reshape(2, 6).T)
    np.testing.assert_array_equal(unrolled.toarray(), kept.reshape(2, 6).T)
    assert rolled.nnz == unrolled.nnz == 11 and (rolled.data == 0).sum() == 1
    np.testing.assert_allclose(channel.toarray(), np.linalg.norm(kept.reshape(2, 1, 6), axis=2).T)


def test_no_edge_leads_through_a_unit_that_a_masked_scale_cuts():
    """Of three channels one is scaled by an entry that is dropped: neither kernel has an edge at it, of any weight."""
    net = nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 2, bias=False)).eval()
    graph = gs.export(net, torch.zeros(1, 1, 4, 4), {"1.weight": torch.tensor([True, False, True])})
    rows, columns = graph.adjacency().nonzero()
    for part in ("kept", "active"):
        found = set()
        for name in graph.shapes:
            matrix, (left, right) = gs.biadjacency(graph, name, "unrolled", part=part), unrolled_units(graph, name)
            found |= {(left[a], right[b]) for a, b in zip(*matrix.nonzero())}
        assert found == set(zip(rows.tolist(), columns.tolist())) and len(found) == 2 * (9 * 4 + 4 * 4 * 2)
        weighted = weighted_edges(Part(Swept(graph), part))
        assert (weighted.nnz, weighted.shape) == (len(found), graph.adjacency().shape)


class Twice(nn.Module):
    """One row of the kernel writes what its other row, read through the same input twice, writes too."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(2, 3, bias=False)

    def forward(self, x):
        return self.one(torch.cat([x, x], -1))


def test_parallel_connections_are_one_edge_with_their_norm():
    weight = torch.tensor([[3.0, -4], [-2, 0], [0, 0]])
    graph = gs.export(Twice(), torch.zeros(1, 1), {"one.weight": weight != 0})
    found = gs.biadjacency(graph, "one.weight", "unrolled", weighted=True, weights={"one.weight": weight})
    np.testing.assert_array_equal(found.toarray(), [[5, -2, 0]])
    assert gs.biadjacency(graph, "one.weight", "rolled").shape == (2, 3)


def test_nothing_kept_and_bad_questions():
    graph = next(graphs())
    nothing = graph.with_masks({name: np.zeros(shape, bool) for name, shape in graph.shapes.items()})
    for name in graph.shapes:
        for encoding in ENCODINGS:
            found = gs.biadjacency(nothing, name, encoding)
            assert found.nnz == 0 and found.shape == gs.biadjacency(graph, name, encoding).shape
    first = next(iter(graph.shapes))
    with pytest.raises(ArgumentError, match="an encoding must be one of channel, rolled and unrolled"):
        gs.biadjacency(graph, first, "flat")
    with pytest.raises(ArgumentError, match="a part must be kept or active"):
        gs.biadjacency(graph, first, part="dead")
    with pytest.raises(MaskError, match="a parameter must be one with connections, at nope"):
        gs.biadjacency(graph, "nope")
    with pytest.raises(MaskError, match="weights must be known"):
        gs.biadjacency(
            gs.export(Shared(False).to("meta"), torch.zeros(1, 3, device="meta")), "first.weight", weighted=True
        )
    by_channel = gs.export(nn.Conv2d(1, 1, 2), torch.zeros(1, 1, 3, 3), {}, resolution="channel")
    with pytest.raises(ArgumentError, match="the unrolled encoding must have a graph of unrolled resolution"):
        gs.biadjacency(by_channel, "weight", "unrolled")

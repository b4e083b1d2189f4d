"""The graph as an object: layers, edges, matrices and the hand-over to networkx and igraph."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import graphsparse as gs
from graphsparse import zoo
from graphsparse.errors import MaskError
from graphsparse.sweep import sweep
from tests.gradients import random_masks
from tests.models import Random, Residual


def small() -> gs.LayeredGraph:
    """3-4-2 with a skip from the input to the output, and these kept weights:

    first: 0->0, 1->0, 2->3; second: 0->1, 3->0; skip: 1->0. So unit 1 and 2 of the middle are starved and stranded.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.skip = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(3, 2, bias=False)

        def forward(self, x):
            return self.second(torch.relu(self.first(x))) + self.skip(x)

    masks = {
        name: np.zeros(shape, bool)
        for name, shape in (("first.weight", (4, 3)), ("second.weight", (2, 4)), ("skip.weight", (2, 3)))
    }
    for name, row, column in [
        ("first", 0, 0),
        ("first", 0, 1),
        ("first", 3, 2),
        ("second", 1, 0),
        ("second", 0, 3),
        ("skip", 0, 1),
    ]:
        masks[f"{name}.weight"][row, column] = True
    return gs.export(Net(), torch.zeros(1, 3), masks)


def test_layers_and_ranks():
    graph = small()
    assert [(layer.name, len(layer), layer.rank) for layer in graph.layers] == [
        ("x", 3, 0), ("first", 4, 1), ("second", 2, 2), ("skip", 2, 1), ("add", 2, 3),
    ]  # fmt: skip
    assert graph.sources.tolist() == [0, 1, 2] and graph.sinks.tolist() == [11, 12]
    assert graph.n_connections == 12 + 8 + 6


def test_edges_have_matrices():
    graph = small()
    edges = {(edge.source.name, edge.target.name): edge for edge in graph.edges}
    first = edges["x", "first"].matrix
    assert first.format == "csr" and first.dtype == bool and first.shape == (3, 4)
    np.testing.assert_array_equal(first.toarray(), [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    assert edges["x", "first"].parameter == "first.weight"
    assert edges["second", "add"].parameter is None
    np.testing.assert_array_equal(edges["skip", "add"].matrix.toarray(), np.eye(2))


def test_adjacency_is_the_edges():
    graph = small()
    adjacency = graph.adjacency()
    assert adjacency.dtype == bool and adjacency.shape == (13, 13) and adjacency.nnz == 6 + 4
    assert sorted(zip(*adjacency.nonzero(), strict=True))[:3] == [(0, 3), (1, 3), (1, 9)]


def test_liveness_of_the_small_graph():
    alive = sweep(small())
    assert np.flatnonzero(~alive.signal).tolist() == [4, 5, 10]
    assert np.flatnonzero(~alive.reaches).tolist() == [4, 5]
    assert {name: mask.count() for name, mask in alive.connections().items()} == {
        "first.weight": 3,
        "second.weight": 2,
        "skip.weight": 1,
    }


def test_networkx_draws_it():
    graph = small()
    given_graph = graph.to_networkx()
    assert given_graph.nodes[3] == {"layer": 1, "name": "first", "active": True}
    assert given_graph.edges[0, 3]["parameter"] == "first.weight"
    assert given_graph.edges[0, 3]["weight"] == pytest.approx(float(graph.weights["first.weight"][0, 0]))
    places = networkx.multipartite_layout(given_graph, subset_key="layer")
    assert places[0][0] < places[3][0] < places[11][0]


def test_igraph_has_the_same_edges():
    graph = small()
    handed = graph.to_igraph()
    assert handed.is_directed() and handed.vcount() == 13
    assert sorted(handed.get_edgelist()) == sorted(graph.to_networkx().edges)
    assert handed.vs["layer"][3] == 1 and handed.es[0]["parameter"] == "first.weight"


def assert_reachability_is_networkx(graph: gs.LayeredGraph) -> None:
    """Signal units are the descendants of the sources, reaching ones the ancestors of the sinks; edges say the same."""
    handed, alive = graph.to_networkx(), sweep(graph)
    below = set(graph.sources.tolist()).union(*(networkx.descendants(handed, s) for s in graph.sources.tolist()))
    above = set(graph.sinks.tolist()).union(*(networkx.ancestors(handed, s) for s in graph.sinks.tolist()))
    assert set(np.flatnonzero(alive.signal)) == below
    assert set(np.flatnonzero(alive.reaches)) == above
    adjacency = graph.adjacency()
    assert sorted(zip(*map(np.ndarray.tolist, adjacency.nonzero()), strict=True)) == sorted(handed.edges)
    used = {name: np.zeros(shape, bool) for name, shape in graph.shapes.items()}
    for layer in graph.layers:
        for block in layer.blocks:
            sources, targets, entries = block.pairs(graph.kept)
            if entries is not None:
                live = np.isin(sources, list(below)) & np.isin(targets, list(above))
                used[block.parameter].reshape(-1)[entries[live]] = True
    for name, mask in used.items():
        np.testing.assert_array_equal(mask, alive.connections()[name].unpack())


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@settings(max_examples=12, deadline=None)
@given(
    plan=st.lists(st.integers(0, 95), min_size=1, max_size=3),
    density=st.sampled_from([0.03, 0.1, 0.3]),
    seed=st.integers(0, 99),
)
def test_random_networks_against_networkx(resolution, plan, density, seed):
    model = Random(plan)
    try:
        model(torch.zeros(1, 4, 5, 5))
    except RuntimeError:
        return  # the plan shrank the image away
    graph = gs.export(model, torch.zeros(1, 4, 5, 5), {}, resolution=resolution)
    assert_reachability_is_networkx(graph.with_masks(random_masks(graph.shapes, density, seed)))


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
def test_residual_against_networkx(resolution):
    graph = gs.export(Residual(), (torch.zeros(1, 2, 7, 7), torch.zeros(1, 5)), {}, resolution=resolution)
    for density in (0.4, 0.1):
        assert_reachability_is_networkx(graph.with_masks(random_masks(graph.shapes, density, 0)))


def test_channel_units():
    graph = gs.export(zoo.build("lenet5"), torch.zeros(1, 3, 32, 32), {}, resolution="channel")
    assert [len(layer) for layer in graph.layers] == [3, 6, 16, 120, 84, 10]
    graph = gs.export(zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28), {}, resolution="channel")
    assert len(graph.sources) == 784


@pytest.mark.parametrize(
    ("name", "mask", "text"),
    [
        ("nope", torch.ones(1).bool(), "masks must go by the names of model.named_parameters(), at nope"),
        ("first.weight", torch.ones(3, 4).bool(), "a mask must have the shape of its parameter, at first.weight; received (3, 4)"),
        ("first.weight", torch.full((4, 3), 0.5), "a mask must be boolean, True where the weight is kept, at first.weight"),
        ("first.weight", torch.full((4, 3), float("nan")), "a mask must be boolean, True where the weight is kept, at first.weight"),
    ],
)  # fmt: skip
def test_masks_that_do_not_fit(name, mask, text):
    with pytest.raises(MaskError) as error:
        small().with_masks({name: mask})
    assert str(error.value).startswith(text) and "Way out" in str(error.value)

"""Why connections, units and parameters are alive or dead: witnesses are paths, and what revives does."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.errors import MaskError
from tests.small_graphs import graphs, steps


def alive(graph: gs.LayeredGraph) -> dict[str, np.ndarray]:
    return {name: np.asarray(mask) for name, mask in gs.effective_masks(graph).items()}


def with_back(graph: gs.LayeredGraph, back) -> gs.LayeredGraph:
    masks = {name: mask.unpack().copy() for name, mask in graph.kept.items()}
    for name, indices in back.items():
        for index in indices:
            assert not masks[name][index], "what comes back was dropped"
            masks[name][index] = True
    return graph.with_masks(masks)


def assert_path(graph: gs.LayeredGraph, path) -> None:
    """Steps follow each other from a source to a sink along what is kept."""
    start = {layer.name: layer.start for layer in graph.layers}
    usable = set(steps(graph))
    units = [start[path[0].source] + path[0].source_unit]
    for step in path:
        here, there = start[step.source] + step.source_unit, start[step.target] + step.target_unit
        assert here == units[-1]
        entry = 0 if step.index is None else int(np.ravel_multi_index(step.index, graph.shapes[step.parameter]))
        assert (here, there, step.parameter or "", entry) in usable
        units.append(there)
    assert units[0] in graph.sources and units[-1] in graph.sinks


def test_every_connection():
    seen = set()
    for graph in graphs():
        active = alive(graph)
        for name, mask in active.items():
            kept = graph.kept[name].unpack()
            for index in list(np.ndindex(*mask.shape))[::3]:
                found = gs.explain(graph, name, index)
                assert found.alive == mask[index] and found.dropped == (not kept[index])
                if found.alive:
                    assert_path(graph, found.path)
                    assert (name, index) in {(step.parameter, step.index) for step in found.path}
                elif found.distance < np.inf:
                    assert found.distance == sum(map(len, found.revival.values())) > 0
                    assert alive(with_back(graph, found.revival))[name][index]
                seen.add((found.alive, found.dropped, len(found.sides)))
    assert len(seen) >= 5


def test_no_fewer_would_do():
    """Every smaller set of dropped connections leaves it dead, tried one by one."""
    tried = 0
    for graph in list(graphs(gated=False, shared=False))[::2][:6]:
        dropped = [(n, i) for n in graph.shapes for i in zip(*np.nonzero(~graph.kept[n].unpack()))]
        for name, mask in alive(graph).items():
            for index in list(zip(*np.nonzero(~mask)))[:3]:
                found = gs.explain(graph, name, index)
                assert found.fewest
                if 1 < found.distance <= 2:
                    tried += 1
                    for some in combinations(dropped, int(found.distance) - 1):
                        back = {n: [i for m, i in some if m == n] for n, _ in some}
                        assert not alive(with_back(graph, back))[name][index]
    assert tried > 3


def test_units():
    for graph in list(graphs())[:16]:
        found = gs.topology(graph, ["units"]).layers["units", "active"]
        for layer in graph.layers:
            explained = [gs.explain(graph, layer.name, unit=unit) for unit in range(len(layer))]
            assert sum(each.alive for each in explained) == found[layer.name]
            for unit, each in enumerate(explained):
                if each.alive and each.path:
                    assert_path(graph, each.path)
                elif each.distance < np.inf and not each.alive:
                    again = with_back(graph, each.revival)
                    assert gs.explain(again, layer.name, unit=unit).alive


def test_parameters():
    for graph in graphs():
        for name, mask in alive(graph).items():
            found = gs.explain(graph, name)
            assert found.alive == mask.any() and found.numbers["active"] == mask.sum()
            assert found.dropped == (not graph.kept[name].count())


@pytest.fixture()
def cut():
    """3 > 3 > 3 > 2; the second kernel keeps a connection that the first feeds no more, and the third drops its target."""
    net = nn.Sequential(
        nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False)
    )
    first = [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
    second = [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    third = [[1, 0, 1], [0, 0, 0]]
    masks = {f"{n}.weight": torch.tensor(mask) > 0 for n, mask in ((0, first), (2, second), (3, third))}
    return gs.export(net, torch.zeros(1, 3), masks)


def test_a_dead_connection_by_hand(cut):
    found = gs.explain(cut, "2.weight", (1, 1))
    assert not found.alive and not found.dropped and found.distance == 2 and found.fewest
    assert [(side.side, side.layer, side.parameters) for side in found.sides] == [
        ("sources", "input", ("0.weight",)), ("sinks", "3", ("3.weight",)),
    ]  # fmt: skip
    assert set(found.revival) == {"0.weight", "3.weight"}
    assert found.revival["0.weight"][0][0] == 1 and found.revival["3.weight"][0][1] == 1
    assert "nothing of 3 is reached, cut by the masks of 3.weight" in str(found)
    assert "alive again with 2 back" in str(found)


def test_a_live_connection_by_hand(cut):
    found = gs.explain(cut, "2.weight", (0, 0))
    assert [(step.target, step.target_unit, step.parameter) for step in found.path] == [
        ("0", 0, "0.weight"), ("2", 0, "2.weight"), ("3", 0, "3.weight"),
    ]  # fmt: skip
    assert "0[0] -> 2[0] by 2.weight[0, 0]" in str(found)
    assert gs.explain(cut, "2.weight", 0) == found == gs.explain(cut, "2.weight", (-3, -3))


def test_a_cone_that_ends_two_layers_away(cut):
    """Unit 1 of the last layer lacks everything before; of the third kernel's third connection the second is to blame."""
    found = gs.explain(cut, "3.weight", (0, 2))
    assert [(side.layer, side.parameters) for side in found.sides] == [("0", ("2.weight",))]
    assert found.revival == {"2.weight": ((2, 0),)} or found.revival == {"2.weight": ((2, 2),)}


def test_a_masked_scale_is_no_matter_of_connections():
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1, bias=False)).eval()
    with torch.no_grad():
        net[1].weight[1] = 0
    graph = gs.export(net, torch.zeros(1, 1, 2, 2))
    found = gs.explain(graph, "0.weight", (1, 0, 0, 0))
    assert not found.alive and found.distance == np.inf and "no connections that could come back" in str(found)
    assert [side.layer for side in found.sides] == [None]


def test_the_zero_operand_of_a_product():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(n, m, bias=False) for n, m in ((2, 3), (2, 3), (3, 1)))

        def forward(self, x):
            return self.c(self.a(x) * self.b(x))

    masks = {"b.weight": torch.tensor([[1, 1], [0, 0], [1, 1]]) > 0}
    graph = gs.export(Product(), torch.zeros(1, 2), masks)
    left, behind = gs.explain(graph, "a.weight", (1, 0)), gs.explain(graph, "c.weight", (0, 1))
    assert [(s.side, s.layer, s.parameters, s.zero_operand) for s in left.sides] == [
        ("sinks", "mul", ("b.weight",), "b[1]")
    ]
    assert [(s.side, s.layer, s.parameters) for s in behind.sides] == [("sources", "x", ("b.weight",))]
    for found in (left, behind):
        assert found.distance == 1 and found.revival["b.weight"][0][0] == 1 and found.fewest


def test_bad_questions(cut):
    with pytest.raises(MaskError, match="a parameter must be one with connections, at nope"):
        gs.explain(cut, "nope")
    for index in ((3, 0), (), (0, 0, 0), 9, "ab", (0, 1.5)):
        with pytest.raises(MaskError, match="an index must be of a connection of its parameter"):
            gs.explain(cut, "0.weight", index)
    with pytest.raises(MaskError, match="a unit must be one of a layer"):
        gs.explain(cut, "0", unit=3)

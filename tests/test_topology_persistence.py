"""Neural persistence against a union-find over all entries, deep graph persistence against every path of small graphs."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.metrics.persistence import deep_graph_persistence
from tests.small_graphs import graphs, paths


def by_union_find(dense: np.ndarray) -> float:
    """The 2-norm of how long components last, the entries of a whole matrix joined one by one, the strongest first."""
    n, m = dense.shape
    parent = list(range(n + m))

    def root(unit: int) -> int:
        while parent[unit] != unit:
            unit = parent[unit]
        return unit

    total = 0.0
    for place in np.argsort(-dense, axis=None):
        a, b = root(place // m), root(n + place % m)
        if a != b:
            parent[a] = b
            total += (1 - dense.reshape(-1)[place]) ** 2
    return float(np.sqrt(total))


def weighted(graph: gs.LayeredGraph, seed: int = 0) -> gs.LayeredGraph:
    rng = np.random.default_rng(seed)
    return replace(graph, weights={name: rng.normal(size=shape) for name, shape in graph.shapes.items()})


@pytest.mark.parametrize("encoding", ["channel", "rolled", "unrolled"])
def test_neural_persistence(encoding):
    seen = 0
    for graph in map(weighted, islice(graphs(), 0, None, 3)):
        if encoding == "unrolled" and graph.resolution == "channel":
            continue
        found = gs.topology(graph, ["neural_persistence", "normalised_neural_persistence"], encoding=encoding)
        for part in ("kept", "active"):
            dense = {
                name: abs(gs.biadjacency(graph, name, encoding, part=part, weighted=True).toarray())
                for name in graph.shapes
            }
            greatest = max(each.max() for each in dense.values())
            expected = {name: by_union_find(each / greatest) if greatest else np.nan for name, each in dense.items()}
            most = {name: np.sqrt(sum(each.shape) - 1) for name, each in dense.items()}
            for name, value in expected.items():
                row = found.parameters.loc[name].xs(part, level="part")
                assert row["neural_persistence"] == pytest.approx(value, nan_ok=True)
                assert row["normalised_neural_persistence"] == pytest.approx(value / most[name], nan_ok=True)
                seen += value < most[name] - 0.01
            total = found.total[part]
            assert total["neural_persistence"] == pytest.approx(sum(expected.values()), nan_ok=True)
            mean = np.mean([value / most[name] for name, value in expected.items()])
            assert total["normalised_neural_persistence"] == pytest.approx(mean, nan_ok=True)
    assert seen > 10


def test_the_strongest_edge_is_an_edge():
    """A path of four units, all weights alike: every component ends at once. SciPy's tree would lose edges of weight 0."""
    graph = gs.export(nn.Linear(2, 2, bias=False), torch.zeros(1, 2), {"weight": [[True, True], [False, True]]})
    row = lambda weight: gs.topology(graph, ["persistence"], weights={"weight": weight}).total["kept"]
    assert row([[-2.0, 2.0], [7.0, 2.0]])["neural_persistence"] == 0
    assert row([[2.0, 1.0], [7.0, 2.0]])["neural_persistence"] == 0.5
    assert row([[2.0, 0.0], [7.0, 2.0]])["neural_persistence"] == 1


def by_paths(graph: gs.LayeredGraph, part: str) -> float:
    """Deep graph persistence by definition: the widest of all paths from each source to each sink."""
    masks = gs.effective_masks(graph) if part == "active" else graph.kept
    values = {}
    for name in graph.shapes:
        weights, there = graph.weights[name], np.asarray(masks[name])
        if len(np.unique(weights[there])) == 1:
            return np.nan
        if there.any():
            values[name] = np.abs((weights - weights[there].mean()) / weights[there].std())
    if not values:
        return np.nan
    greatest = max(each[np.asarray(masks[name])].max() for name, each in values.items())
    widest = np.zeros((len(graph.sources), len(graph.sinks)))
    places = {int(u): n for n, u in enumerate(graph.sources)}, {int(u): n for n, u in enumerate(graph.sinks)}
    for path in paths(graph):
        at = places[0][path[0][0]], places[1][path[-1][1]]
        least = min(values[name].reshape(-1)[entry] / greatest for _, _, name, entry in path if name)
        widest[at] = max(widest[at], least)
    return by_union_find(widest) / np.sqrt(sum(widest.shape) - 1)


def test_deep_graph_persistence():
    seen = 0
    for graph in map(weighted, graphs(gated=False)):
        found = gs.topology(graph, ["normalised_deep_graph_persistence"]).total
        for part in ("kept", "active"):
            expected = by_paths(graph, part)
            assert found.iloc[0][part] == pytest.approx(expected, nan_ok=True)
            seen += expected < 0.9
    assert seen > 3


def test_deep_graph_persistence_as_published():
    """Fully connected layers without masks: the product of their standardised weights in (max, min)."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    graph = gs.export(net, torch.zeros(1, 6), {})
    layers = [graph.weights[name].T.astype(float) for name in graph.shapes]
    layers = [np.abs((each - each.mean()) / each.std()) for each in layers]
    greatest = max(each.max() for each in layers)
    widest = layers[0] / greatest
    for each in layers[1:]:
        widest = np.minimum(widest[:, :, None], each[None] / greatest).max(1)
    expected = by_union_find(widest) / np.sqrt(8)
    assert deep_graph_persistence(graph) == pytest.approx(expected)
    assert gs.topology(graph, ["persistence"]).total["active"].iloc[-1] == pytest.approx(expected)


def test_undefined_persistence_says_why(monkeypatch):
    graph = gs.export(nn.Linear(3, 2, bias=False), torch.zeros(1, 3), {})
    reasons = lambda **given: set(gs.topology(graph, ["persistence"], **given).frame["undefined"]) - {""}
    assert reasons() == set()
    assert reasons(weights={}) == {"the weights are not known"}
    alike = "a parameter's weights are all alike and cannot be standardised, or there are none"
    assert reasons(weights={"weight": np.zeros((2, 3))}) == {alike, "no connection has a weight other than zero"}
    monkeypatch.setattr("graphsparse.metrics.persistence.LARGEST", 11)
    assert [each for each in reasons() if "ask graphsparse.metrics.persistence.deep_graph_persistence" in each]

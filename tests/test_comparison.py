"""Masks side by side: against sets of connections and units, every matching of small layers, and permuted networks."""

from __future__ import annotations

import json
import re
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

import graphsparse as gs
from graphsparse.errors import ArgumentError, MaskError
from graphsparse.metrics.comparison import TABLE
from tests.small_graphs import Skipping, graphs, paths, steps


def random_masks(graph: gs.LayeredGraph, seed: int, density: float = 0.5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape) < density for name, shape in graph.shapes.items()}


def test_counts_against_sets():
    seen = 0
    for number, graph in enumerate(graphs()):
        if number % 5:
            continue
        sets = {f"set {n}": random_masks(graph, 10 * number + n) for n in range(3)}
        found = gs.compare_masks(graph, sets, [name for name in TABLE if name != "topological_distance"])
        connections, units = {}, {}
        for name, masks in sets.items():
            under = graph.with_masks(masks)
            every = [step for step in steps(under) if step[2]]
            on_paths = [step for path in paths(under) for step in path if step[2]]
            connections[name, "kept"] = {(p, e) for p in graph.shapes for e in np.flatnonzero(masks[p]).tolist()}
            connections[name, "active"] = {step[2:] for step in on_paths}
            for part, joined in (("kept", every), ("active", on_paths)):
                units[name, part] = {unit for step in joined for unit in step[:2]}
        for one, other in combinations(sets, 2):
            for part in ("kept", "active"):
                row = found.total.loc[(one, other)][part]
                a, b = connections[one, part], connections[other, part]
                sizes = {"either": a | b, "intersection": a & b, "only_in_one": a - b, "only_in_other": b - a}
                for metric, expected in sizes.items():
                    assert row[metric] == len(expected)
                share = len(a & b) / len(a | b) if a | b else np.nan
                assert row["intersection_over_union"] == pytest.approx(share, nan_ok=True)
                for name in graph.shapes:
                    only = sum(1 for parameter, _ in a - b if parameter == name)
                    assert found.parameters.loc[(one, other, "only_in_one", name), part] == only
                c, d = units[one, part], units[other, part]
                units_apart = {
                    "units_in_either": c | d, "units_in_both": c & d, "units_only_in_one": c - d, "units_only_in_other": d - c,
                }  # fmt: skip
                for metric, apart in units_apart.items():
                    assert row[metric] == len(apart)
                share = len(c & d) / len(c | d) if c | d else np.nan
                assert row["units_intersection_over_union"] == pytest.approx(share, nan_ok=True)
                for layer in graph.layers:
                    here = sum(layer.start <= unit < layer.stop for unit in c & d)
                    assert found.layers.loc[(one, other, "units_in_both", layer.name), part] == here
                seen += share > 0
        for part in ("kept", "active"):
            ever = set.union(*(connections[name, part] for name in sets))
            assert found.ever.loc["all", f"ever_{part}"] == len(ever)
            assert found.ever.loc["all", f"ever_{part}_of_connections"] == pytest.approx(
                len(ever) / graph.n_connections
            )
            for name in graph.shapes:
                assert found.ever.loc[name, f"ever_{part}"] == sum(1 for parameter, _ in ever if parameter == name)
    assert seen > 10


def edit(a: np.ndarray, b: np.ndarray) -> float:
    return (a != b).sum() / (a | b).sum() if (a | b).any() else 0.0


def test_the_best_of_all_matchings():
    """A hidden layer of five units under every permutation; the outputs stay in their place."""
    net = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 3, bias=False))
    graph = gs.export(net, torch.zeros(1, 6), {})
    for seed in range(5):
        one, other = (random_masks(graph, seed + 50 * n, 0.4) for n in range(2))
        found = gs.compare_masks(graph, [one, other], ["topological_distance"]).parameters["kept"].droplevel([0, 1, 2])
        distance = lambda order: np.mean([edit(a, other["0.weight"][to]) for a, to in zip(one["0.weight"], order)])
        best = min(permutations(range(5)), key=distance)
        assert found["0.weight"] == pytest.approx(distance(best))
        after = [
            np.mean([edit(a, b[list(order)]) for a, b in zip(one["1.weight"], other["1.weight"])])
            for order in permutations(range(5))
            if distance(order) == pytest.approx(distance(best))
        ]
        assert any(found["1.weight"] == pytest.approx(value) for value in after)


def as_published(one: list[np.ndarray], other: list[np.ndarray]) -> list[float]:
    """Layer by layer as in the code of Liu et al., its rows being ours: match, then move the next layer's columns."""
    found, columns = [], np.arange(one[0].shape[1])
    for first, second in zip(one, other):
        cost = np.array([[edit(a, b) for b in second[:, columns]] for a in first])
        rows, columns = linear_sum_assignment(cost)
        found.append(cost[rows, columns].mean())
    return found


def test_hidden_layers_as_published():
    net = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in ((9, 8), (8, 7), (7, 6), (6, 2))))
    graph = gs.export(net, torch.zeros(1, 9), {})
    one, other = random_masks(graph, 1, 0.3), random_masks(graph, 2, 0.3)
    found = gs.compare_masks(graph, [one, other], ["topological_distance"])
    expected = as_published([*one.values()], [*other.values()])
    by_layer = found.parameters["kept"].to_numpy()
    np.testing.assert_allclose(by_layer[:-1], expected[:-1])
    assert by_layer[-1] >= expected[-1] - 1e-12, "outputs are not matched here"
    assert found.total["kept"].iloc[0] == pytest.approx(by_layer.mean())


class Chain(nn.Module):
    """Two convolutions, pooling, and a head over every position of every channel."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.c, self.d = nn.Linear(24, 10), nn.Linear(10, 4)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.b(torch.relu(self.a(x)))), 2)
        return self.d(torch.relu(self.c(x.flatten(1))))


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
def test_a_permuted_network_is_at_no_distance(resolution):
    graph = gs.export(Chain(), torch.zeros(1, 3, 4, 4), {}, resolution=resolution)
    masks = {name: array.copy() for name, array in random_masks(graph, 3, 0.35).items()}
    rng = np.random.default_rng(4)
    a, b, c = rng.permutation(8), rng.permutation(6), rng.permutation(10)
    permuted = {
        "a.weight": masks["a.weight"][a], "b.weight": masks["b.weight"][b][:, a],
        "c.weight": masks["c.weight"].reshape(10, 6, 4)[c][:, b].reshape(10, 24), "d.weight": masks["d.weight"][:, c],
    }  # fmt: skip
    found = gs.compare_masks(graph, {"one": masks, "permuted": permuted, "other": random_masks(graph, 9, 0.35)})
    distance, overlap = (found.matrix(name) for name in ("topological_distance", "intersection_over_union"))
    assert distance.loc["one", "permuted"] == 0 and overlap.loc["one", "permuted"] < 0.5
    assert found.matrix("topological_distance", "active").loc["one", "permuted"] == 0
    assert 0.3 < distance.loc["one", "other"] < 1 - overlap.loc["one", "other"] + 0.1
    assert np.isnan(distance.loc["one", "one"])


def test_units_of_a_skip_keep_their_place():
    """The units of "one" are private, those of "first" and "two" are added to each other."""
    graph = gs.export(Skipping(), torch.zeros(1, 3), {})
    masks, order, wide = random_masks(graph, 8), [2, 0, 1], [1, 2, 3, 0]
    private = {**masks, "one.weight": masks["one.weight"][order], "two.weight": masks["two.weight"][:, order]}
    added = {
        "first.weight": masks["first.weight"][wide], "one.weight": masks["one.weight"][:, wide],
        "two.weight": masks["two.weight"][wide], "last.weight": masks["last.weight"][:, wide],
    }  # fmt: skip
    found = gs.compare_masks(graph, [masks, private, added], "topological_distance", pairs="first")
    assert found.matrix("topological_distance").loc["0"].to_list()[1] == 0
    rows = found.parameters["kept"].loc["0", "2", "topological_distance"]
    in_place = [np.mean([edit(a, b) for a, b in zip(masks[name], added[name])]) for name in graph.shapes]
    named = dict(zip(graph.shapes, in_place, strict=True))
    assert rows["first.weight"] == pytest.approx(named["first.weight"]) and named["first.weight"] > 0
    assert rows["one.weight"] <= named["one.weight"]


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.c(self.a(x) * self.b(x))


@pytest.mark.parametrize(
    ("model", "x"), [(Gated(), torch.zeros(1, 5)), (nn.LSTM(3, 4, batch_first=True), torch.zeros(1, 4, 3))]
)
def test_operands_of_products_keep_their_place(model, x):
    graph = gs.export(model, x, {})
    one, other = random_masks(graph, 1), random_masks(graph, 2)
    found = gs.compare_masks(graph, [one, other], "topological_distance").parameters["kept"].droplevel([0, 1, 2])
    for name in graph.shapes:
        assert found[name] == pytest.approx(np.mean([edit(a, b) for a, b in zip(one[name], other[name])]))


def test_distance_where_units_cannot_be_matched():
    """Skips, products, shared kernels: no distance from itself, at most 1 from another, and 1 where nothing is shared."""
    for graph in list(graphs())[::5]:
        one = random_masks(graph, 5)
        dropped = {name: ~mask for name, mask in one.items()}
        found = gs.compare_masks(graph, {"one": one, "same": one, "opposite": dropped}).matrix("topological_distance")
        assert found.loc["one", "same"] == 0 and 0 < found.loc["one", "opposite"] <= 1
        assert found.loc["same", "opposite"] == found.loc["one", "opposite"]


def test_pairs_and_forms():
    graph = next(graphs())
    sets = [random_masks(graph, n) for n in range(4)]
    pairs = lambda order: gs.compare_masks(graph, sets, "either", pairs=order).total.index.droplevel("metric").tolist()
    assert pairs("all") == [(a, b) for a, b in combinations("0123", 2)]
    assert pairs("next") == [("0", "1"), ("1", "2"), ("2", "3")]
    assert pairs("first") == [("0", "1"), ("0", "2"), ("0", "3")]
    found = gs.compare_masks(graph, sets)
    assert repr(found).startswith("Comparison(4 mask sets, 6 pairs, 11 metrics") and "<table" in found._repr_html_()
    written = json.loads(found.to_json())
    assert len(written["pairs"]) == len(found.frame) and written["ever"][-1]["parameter"] == "all"
    assert found.to_csv().splitlines()[0] == "one,other,metric,unit,scope,place,kept,active,undefined"
    for row in TABLE.values():
        assert "Cost" in row.definition and row.unit and row.group == "comparison"


def test_nothing_kept_is_undefined_with_its_reason():
    graph = next(graphs())
    nothing = {name: np.zeros(shape, bool) for name, shape in graph.shapes.items()}
    found = gs.compare_masks(graph, [nothing, nothing])
    undefined = found.frame[["kept", "active"]].isna().any(axis=1)
    assert (found.frame.loc[undefined, "undefined"] != "").all() and undefined.any()
    assert (found.frame.loc[~undefined, "undefined"] == "").all()
    assert found.total.xs("topological_distance", level="metric")["kept"].item() == 0
    assert found.ever.loc["all", "ever_kept_of_connections"] == 0


def test_too_many_rows_are_not_matched(monkeypatch):
    monkeypatch.setattr("graphsparse.metrics.matching.LARGEST", 4)
    graph = gs.export(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)), torch.zeros(1, 3), {})
    found = gs.compare_masks(graph, [random_masks(graph, n) for n in range(2)], ["topological_distance"]).parameters
    assert (
        np.isnan(found["kept"].iloc[0]) and found["kept"].iloc[1] >= 0 and "rows to match" in found["undefined"].iloc[0]
    )


def test_bad_questions():
    graph = next(graphs())
    masks = random_masks(graph, 0)
    with pytest.raises(ArgumentError, match="two mask sets or more must be given to be compared"):
        gs.compare_masks(graph, [masks])
    with pytest.raises(ArgumentError, match="a metric must be one of the comparison's"):
        gs.compare_masks(graph, [masks, masks], ["overlap"])
    with pytest.raises(ArgumentError, match="pairs must be all, next or first"):
        gs.compare_masks(graph, [masks, masks], pairs="some")
    first = next(iter(masks))
    with pytest.raises(MaskError, match=f"a mask must have the shape of its parameter, at mask set b, {first}"):
        gs.compare_masks(graph, {"a": masks, "b": {**masks, first: masks[first][:1]}})


def test_the_page_runs():
    """What docs/layer_graphs.md shows, block after block."""
    page = (Path(__file__).parent.parent / "docs" / "layer_graphs.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert names["found"].names == ("before", "after")

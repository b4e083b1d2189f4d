"""Metrics of paths, degrees and fragility against every path, networkx and igraph, and closed forms."""

from __future__ import annotations

import igraph
import networkx
import numpy as np
import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.metrics.cuts import minimum_cut
from graphsparse.metrics.dominators import OUTSIDE, ROOT
from graphsparse.metrics.fits import Histogram
from graphsparse.metrics.fragility import dominators
from tests.small_graphs import edges_on_paths, graphs, paths, with_ends


def test_paths_against_every_one():
    for graph in graphs():
        every = list(paths(graph))
        lengths = [sum(bool(name) for _, _, name, _ in path) for path in every]
        found = gs.topology(graph, ["paths"])
        values, undefined = found.total["kept"], found.total["undefined"]
        assert values["paths"] == len(every)
        assert values["effective_nodes"] == len({unit for path in every for step in path for unit in step[:2]})
        if not every:
            assert undefined["shortest_path"] == "there is no path from a source to a sink"
            assert np.isnan(values[["shortest_path", "longest_path", "log10_paths"]].astype(float)).all()
            continue
        assert values["log10_paths"] == pytest.approx(np.log10(len(every)), abs=1e-12)
        assert (values["shortest_path"], values["longest_path"]) == (min(lengths), max(lengths))
        for layer in graph.layers:
            units = range(layer.start, layer.stop)
            through = sum(sum(u in units for u in {p[0][0], *(step[1] for step in p)}) for p in every)
            assert found.layers.loc[layer.name, ("paths", "active")] == through
        for name in graph.shapes:
            uses = sum(step[2] == name for path in every for step in path)
            assert found.parameters.loc[name, ("paths", "active")] == uses


def test_path_density_and_counts_of_a_complete_network():
    """n0 * n1 * n2 * n3 paths; a kernel cut to half its rows halves them."""
    net = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in ((4, 6), (6, 5), (5, 3))))
    graph = gs.export(net, torch.zeros(1, 4), {})
    values = gs.topology(graph, ["paths"]).total["kept"]
    assert values["paths"] == 4 * 6 * 5 * 3 and values["log10_paths_of_dense_paths"] == pytest.approx(0)
    assert values["shortest_path"] == values["longest_path"] == 3
    half = graph.with_masks({"0.weight": torch.arange(6)[:, None].expand(6, 4) < 3})
    assert gs.topology(half, ["paths"]).total["kept"]["log10_paths_of_dense_paths"] == pytest.approx(np.log10(0.5))


def test_more_paths_than_a_float_holds():
    graph = gs.export(nn.Sequential(*(nn.Linear(20, 20, bias=False) for _ in range(260))), torch.zeros(1, 20), {})
    values = gs.topology(graph, ["log10_paths", "paths"]).total["kept"]
    assert values["log10_paths"] == pytest.approx(261 * np.log10(20), rel=1e-12) and values["paths"] == np.inf


def test_paths_with_biases_are_the_sum_of_outputs_with_every_parameter_one():
    """Node-path balance runs the network itself: kept parameters 1, an input of ones, no activation."""
    for seed in range(4):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 5), nn.Linear(5, 2)).double()
        masks = {name: torch.rand(p.shape) < (0.1, 0.3, 0.5, 0.9)[seed] for name, p in net.named_parameters()}
        graph = gs.export(net, torch.zeros(1, 1, 4, 4, dtype=torch.float64), masks)
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.copy_(masks[name])
            expected = float(net(torch.ones(1, 1, 4, 4, dtype=torch.float64)).sum())
        found = gs.topology(graph, ["log10_paths_with_biases"]).total["kept"].iloc[0]
        assert (0 if np.isnan(found) else 10**found) == pytest.approx(expected, rel=1e-9)


def test_degrees_against_networkx():
    for graph in graphs():
        drawn, found = graph.to_networkx(), gs.topology(graph, ["degrees"]).total
        for part in ("kept", "active"):
            if part == "active":
                drawn = networkx.DiGraph(list(edges_on_paths(graph)))
            values = found[part]
            ins = [d for u, d in drawn.in_degree if u not in set(graph.sources.tolist())]
            outs = [d for u, d in drawn.out_degree if u not in set(graph.sinks.tolist())]
            for name, degrees in (("in", ins), ("out", outs)):
                if not degrees:
                    assert np.isnan(values[f"mean_{name}_degree"])
                    continue
                mean = np.mean(degrees)
                assert values[f"mean_{name}_degree"] == pytest.approx(mean)
                assert values[f"greatest_{name}_degree"] == max(degrees)
                if mean:
                    assert values[f"variation_of_{name}_degree"] == pytest.approx(np.std(degrees) / mean)
                    differences = np.abs(np.subtract.outer(degrees, degrees)).mean() / (2 * mean)
                    assert values[f"gini_of_{name}_degree"] == pytest.approx(differences)
            degrees = [(drawn.out_degree[u], drawn.in_degree[v]) for u, v in drawn.edges]
            varies = all(len(set(each)) > 1 for each in zip(*degrees)) and bool(degrees)
            assert np.isfinite(values["assortativity"]) == varies
            if varies:
                expected = networkx.degree_pearson_correlation_coefficient(drawn)
                assert values["assortativity"] == pytest.approx(expected, abs=1e-9)


def test_assortativity_of_a_unit_of_so_many_edges_that_its_cube_leaves_int64():
    n = 2_200_000
    masks = {"0.weight": np.ones((3, 1), bool), "1.weight": np.ones((n, 3), bool)}
    masks["1.weight"][: n // 2, 1], masks["1.weight"][: n // 4, 2] = False, False
    net = nn.Sequential(nn.Linear(1, 3, bias=False, device="meta"), nn.Linear(3, n, bias=False, device="meta"))
    found = gs.topology(gs.export(net, torch.zeros(1, 1, device="meta"), masks), ["assortativity"]).layers
    wide = masks["1.weight"]
    rows, columns = np.nonzero(wide)
    expected = np.corrcoef(wide.sum(0)[columns], wide.sum(1)[rows])[0, 1]
    assert found["assortativity", "kept"].iloc[-1] == pytest.approx(expected)


def test_fan_in_by_hand():
    net = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -1, 0, 0], [0, 2, 2, 0], [1, 1, 1, 0], [0, 0, 0, 0]]))
    found = gs.topology(gs.export(net, torch.zeros(1, 4)), ["degrees"]).parameters.iloc[0].xs("kept", level="part")
    assert (found["live_rows"], found["usual_fan_in"], found["rows_of_the_usual_fan_in"]) == (3, 2, 2)
    assert found["rows_of_the_usual_fan_in_of_live_rows"] == pytest.approx(2 / 3)
    assert found["variation_of_fan_in"] == pytest.approx(np.std([2, 2, 3, 0]) / 1.75)
    assert found["strength"] == (2 + 4 + 3) / 4


def test_gini_of_known_shares():
    gini = lambda *degrees: Histogram.of(np.asarray(degrees)).gini()
    assert gini(3, 3, 3) == 0 and gini(0, 0, 0, 1) == 0.75 and np.isnan(gini(0, 0, 0))


def test_hubs():
    """Of twenty rows one reads everything, the others one input each."""
    mask = torch.zeros(20, 30) > 0
    mask[:, 0], mask[7] = True, True
    found = gs.topology(gs.export(nn.Linear(30, 20), torch.zeros(1, 30), {"weight": mask}), ["hubs"])
    assert found.layers["hubs", "kept"].tolist() == [1, 1]


def test_dominators_against_networkx_and_igraph():
    """networkx leaves the root out of its answer from 3.6 on; older ones say that it dominates itself."""
    seen = 0
    for graph in graphs():
        edges = edges_on_paths(graph)
        found = dominators(graph)
        drawn = with_ends(graph, edges)
        ids = {node: number for number, node in enumerate(drawn)}
        judge = igraph.Graph(len(ids), [(ids[u], ids[v]) for u, v in drawn.edges], directed=True)
        for tree, root, way, mode in (
            (found.forwards, "root", drawn, "out"),
            (found.backwards, "end", drawn.reverse(), "in"),
        ):
            if not edges:
                assert (tree == OUTSIDE).all()
                continue
            expected = {u: d for u, d in networkx.immediate_dominators(way, root).items() if isinstance(u, int)}
            assert {u: d if d != ROOT else root for u, d in enumerate(tree.tolist()) if d != OUTSIDE} == expected
            by_igraph = judge.dominator(ids[root], mode=mode)
            assert all(by_igraph[ids[u]] == ids[d] for u, d in expected.items())
            seen += len(expected)
    assert seen > 100


def test_what_dies_with_a_unit_and_with_an_edge():
    for graph in list(graphs())[::2]:
        edges, found = edges_on_paths(graph), dominators(graph)
        units = {unit for edge in edges for unit in edge}
        for unit in units:
            gone = len(edges) - len(edges_on_paths(graph, {unit}))
            assert found.retained_by_units[unit] == gone
        pairs = list(zip(*(ids.tolist() for ids in found.edges.nonzero())))
        lost = found.retained_by_edges
        for place in range(0, len(pairs), 3):
            assert lost[place] == len(edges) - len(edges_on_paths(graph, {pairs[place]}))
        row = gs.topology(graph, ["fragility"]).total["kept"]
        if edges:
            assert row["most_lost_by_a_unit"] == max(found.retained_by_units[list(units)])
            assert row["most_lost_by_an_edge"] == lost.max()


def test_what_every_path_needs():
    seen = 0
    for graph in graphs():
        every = list(paths(graph))
        row = gs.topology(graph, ["fragility"]).total["kept"]
        if not every:
            assert np.isnan(row["unavoidable_units"]) and np.isnan(row["unavoidable_edges"])
            continue
        units = set.intersection(*({p[0][0], *(step[1] for step in p)} for p in every))
        edges = set.intersection(*({step[:2] for step in p} for p in every))
        assert (row["unavoidable_units"], row["unavoidable_edges"]) == (len(units), len(edges))
        seen += len(edges)
    assert seen > 3


def test_minimum_cut_against_networkx():
    for graph in graphs():
        connections = {step[:2] for path in paths(graph) for step in path if step[2]}
        wires = {step[:2] for path in paths(graph) for step in path if not step[2]}
        cut = minimum_cut(graph)
        if not connections:
            assert cut.size == 0
            continue
        drawn = with_ends(graph, connections | wires)
        for edge in drawn.edges:
            if edge in connections and edge not in wires:
                drawn.edges[edge]["capacity"] = 1
        assert cut.size == networkx.maximum_flow_value(drawn, "root", "end") == len(cut.sources)
        drawn.remove_edges_from(zip(cut.sources.tolist(), cut.targets.tolist()))
        assert not networkx.has_path(drawn, "root", "end")
        assert gs.topology(graph, ["minimum_cut"]).total.loc["minimum_cut", "kept"] == cut.size


def test_minimum_cut_of_complete_networks_and_of_wires():
    net = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, 6, bias=False), nn.Linear(6, 2, bias=False))
    graph = gs.export(net, torch.zeros(1, 5), {})
    assert gs.topology(graph, ["minimum_cut"]).layers["minimum_cut", "kept"].to_dict() == {
        "input": 0,
        "0": 0,
        "1": 0,
        "2": 12,
    }

    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)

        def forward(self, x):
            return self.one(x) + x

    row = gs.topology(gs.export(Added(), torch.zeros(1, 3), {}), ["minimum_cut"]).total.loc["minimum_cut"]
    assert np.isnan(row["kept"]) and row["undefined"] == "wires alone lead from a source to a sink"


def test_the_widest_path():
    for graph in graphs():
        rng = np.random.default_rng(0)
        weights = {name: rng.normal(size=shape) for name, shape in graph.shapes.items()}
        weighted = gs.LayeredGraph(**{**vars_of(graph), "weights": weights})
        least = [min(abs(weights[n].reshape(-1)[e]) for _, _, n, e in path if n) for path in paths(graph)]
        found = gs.topology(weighted, ["widest_path"]).total.loc["widest_path"]
        if graph.gated and least:
            found_at, above = (
                any(paths(under(graph, weights, t))) for t in (found["kept"], np.nextafter(found["kept"], 9))
            )
            assert found_at and not above
        else:
            assert found["kept"] == max(least) if least else np.isnan(found["kept"])
    unknown = gs.LayeredGraph(**{**vars_of(graph), "weights": {}})
    assert gs.topology(unknown, ["widest_path"]).total.loc["widest_path", "undefined"] == "the weights are not known"


def under(graph: gs.LayeredGraph, weights, threshold: float) -> gs.LayeredGraph:
    """The graph without the connections of less absolute weight."""
    masks = {name: mask.unpack() for name, mask in graph.kept.items()}
    return graph.with_masks({**masks, **{n: masks[n] & (abs(w) >= threshold) for n, w in weights.items()}})


def vars_of(graph: gs.LayeredGraph) -> dict:
    return {name: getattr(graph, name) for name in graph.__dataclass_fields__}


def test_weak_components():
    for graph in graphs():
        for part, drawn in (("kept", graph.to_networkx()), ("active", networkx.DiGraph(list(edges_on_paths(graph))))):
            sizes = [len(each) for each in networkx.weakly_connected_components(drawn) if len(each) > 1]
            values = gs.topology(graph, ["components", "largest_component"]).total[part]
            assert (values["components"], values["largest_component"]) == (len(sizes), max(sizes, default=0))


def test_a_path_is_fragile_everywhere():
    """One path of five connections: six units, five edges, all needed; losing one loses all."""
    net = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(5)))
    one = torch.zeros(3, 3) > 0
    one[1, 1] = True
    row = gs.topology(gs.export(net, torch.zeros(1, 3), {f"{n}.weight": one for n in range(5)})).total["active"]
    expected = {"unavoidable_units": 6, "unavoidable_edges": 5, "most_lost_by_a_unit": 5, "most_lost_by_an_edge": 5,
                "minimum_cut": 1, "paths": 1, "shortest_path": 5, "longest_path": 5, "components": 1}  # fmt: skip
    assert row[list(expected)].to_dict() == expected


class Attending(nn.Module):
    """A transformer layer over tokens whose embedding is also the head."""

    def __init__(self):
        super().__init__()
        self.table, self.layer = nn.Embedding(7, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 7, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.layer(self.table(tokens)))


class Transposed(nn.Module):
    """Groups, a transposed convolution and pooling: kernels whose elements lie at no one stride."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.c = nn.Linear(64, 3)

    def forward(self, x):
        return self.c(torch.max_pool2d(self.b(torch.relu(self.a(x))), 2).flatten(1))


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize(("model", "x"), [(Attending, torch.zeros(1, 4).long()), (Transposed, torch.zeros(1, 4, 4, 4))])
def test_attention_groups_and_transposed_convolutions(model, x, resolution):
    """What sweeps in other algebras say agrees with liveness, and what revives does."""
    torch.manual_seed(0)
    graph = gs.export(model().eval(), x, {}, resolution=resolution)
    for density in (0.05, 0.4):
        pruned = graph.with_masks({n: torch.rand(tuple(s)) < density for n, s in graph.shapes.items()})
        found, active = gs.topology(pruned), gs.effective_masks(pruned)
        values = found.total["kept"]
        cut = values[["cut_from_sources", "cut_from_sinks", "acting_nowhere"]].sum()
        assert cut == values["remaining"] - sum(int(mask.sum()) for mask in active.values())
        assert values["inactive_edges"] == values["edges"] - found.total.loc["edges", "active"]
        for name, mask in active.items():
            assert (found.parameters.loc[name, ("paths", "kept")] > 0) == mask.any()
            for index in list(np.ndindex(*mask.shape))[::97]:
                why = gs.explain(pruned, name, index)
                assert why.alive == bool(mask[index])
                if not why.alive and why.distance < np.inf:
                    masks = {key: each.unpack() for key, each in pruned.kept.items()}
                    for key, some in why.revival.items():
                        masks[key][tuple(zip(*some))] = True
                    assert gs.effective_masks(pruned.with_masks(masks))[name][index]

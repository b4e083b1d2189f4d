"""Metrics of structure and fits, and bridges against networkx, igraph, brute force and closed forms."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import igraph
import networkx
import numpy as np
import pytest
import torch
from networkx.algorithms import bipartite as judge
from scipy import optimize, sparse, special
from torch import nn

import graphsparse as gs
from graphsparse.errors import MissingExtra
from graphsparse.metrics import topology
from graphsparse.metrics.bipartite import count_butterflies
from graphsparse.metrics.bridges import Bridges
from graphsparse.metrics.communities import labels_of, sample_fours
from graphsparse.metrics.cuts import minimum_cut
from graphsparse.metrics.fits import degree_counts, power_law
from graphsparse.metrics.parts import Part, Swept
from tests.small_graphs import graphs, steps

Pair = tuple[int, int]


def parts(graph: gs.LayeredGraph) -> Iterator[tuple[str, networkx.DiGraph]]:
    """Both parts in networkx, the active one without dead units; another file compares its edges with all paths."""
    yield "kept", networkx.DiGraph(graph.to_networkx())
    rows, columns = Part(Swept(graph), "active").edges.nonzero()
    yield "active", networkx.DiGraph(list(zip(rows.tolist(), columns.tolist())))


def rolled(graph: gs.LayeredGraph, name: str, part: str) -> networkx.Graph:
    """The bipartite graph of a parameter in networkx, drawn from its mask (outputs, inputs, taps)."""
    masks = gs.effective_masks(graph) if part == "active" else {n: graph.kept[n].unpack() for n in graph.shapes}
    mask = np.asarray(masks[name])
    mask = mask.reshape(len(mask), -1)
    drawn = networkx.Graph()
    drawn.add_nodes_from((("out", row) for row in range(mask.shape[0])), bipartite=0)
    drawn.add_nodes_from((("in", column) for column in range(mask.shape[1])), bipartite=1)
    drawn.add_edges_from((("out", row), ("in", column)) for row, column in zip(*(a.tolist() for a in mask.nonzero())))
    return drawn


def chain(*masks: torch.Tensor) -> gs.LayeredGraph:
    """Fully connected layers without biases under these masks."""
    model = nn.Sequential(*(nn.Linear(mask.shape[1], mask.shape[0], bias=False) for mask in masks))
    x = torch.zeros(1, masks[0].shape[1])
    return gs.export(model, x, {f"{n}.weight": mask > 0 for n, mask in enumerate(masks)})


def test_bridges_and_articulation_points():
    seen = 0
    for graph in graphs():
        found = gs.topology(graph, ["bridges", "articulation_points"])
        layers = found.layers
        for part, drawn in parts(graph):
            plain = drawn.to_undirected()
            cuts = {(min(edge), max(edge)) for edge in networkx.bridges(plain)}
            points = set(networkx.articulation_points(plain))
            by_igraph = igraph.Graph(graph.n_units, list(drawn.edges))
            assert len(by_igraph.bridges()) == len(cuts) and set(by_igraph.articulation_points()) == points
            assert found.total.loc["bridges", part] == len(cuts)
            assert found.total.loc["articulation_points", part] == len(points)
            for n, layer in enumerate(graph.layers):
                here = range(layer.start, layer.stop)
                assert layers["bridges", part].iloc[n] == sum(target in here for _, target in cuts)
                assert layers["articulation_points", part].iloc[n] == sum(unit in here for unit in points)
            seen += len(cuts)
    assert seen > 100


def test_bridges_name_their_ends():
    edges = {(0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (4, 6), (5, 6), (6, 7)}
    rows, columns = np.array(sorted(edges)).T
    found = Bridges.of(sparse.csr_array((np.ones(len(rows), bool), (rows, columns)), (8, 8)))
    assert set(zip(found.sources.tolist(), found.targets.tolist())) == {(0, 2), (1, 2), (2, 3), (6, 7)}
    assert np.flatnonzero(found.articulation).tolist() == [2, 3, 6]


def test_bridges_of_large_random_graphs():
    """As many as networkx finds in graphs of a thousand units at the density where components join."""
    for seed in range(3):
        random = np.random.default_rng(seed)
        ends = np.unique(np.sort(random.integers(0, 1000, (1100, 2)), 1), axis=0)
        ends = ends[ends[:, 0] < ends[:, 1]]
        found = Bridges.of(sparse.csr_array((np.ones(len(ends), bool), tuple(ends.T)), (1000, 1000)))
        drawn = networkx.Graph(ends.tolist())
        assert set(zip(found.sources.tolist(), found.targets.tolist())) == {
            tuple(sorted(e)) for e in networkx.bridges(drawn)
        }
        assert set(np.flatnonzero(found.articulation).tolist()) == set(networkx.articulation_points(drawn))


def test_closed_forms_of_bridges():
    path = chain(*(torch.ones(1, 1) for _ in range(4)))
    values = gs.topology(path, ["fragility"]).total["kept"]
    assert (values["bridges"], values["articulation_points"]) == (4, 3)
    complete = chain(torch.ones(3, 2), torch.ones(4, 3))
    values = gs.topology(complete, ["fragility"]).total["kept"]
    assert (values["bridges"], values["articulation_points"]) == (0, 0)


def test_a_minimum_cut_names_its_connections():
    """Each edge of the cut with the parameter's entries that it is; without these entries no path is left."""
    seen = 0
    for graph in graphs(shared=False, gated=False):
        cut = minimum_cut(graph)
        table = cut.table(graph)
        every = {step for step in steps(graph) if step[2]}
        assert set(table[["source", "target", "parameter", "entry"]].itertuples(index=False, name=None)) <= every
        assert set(zip(table["source"], table["target"])) == set(zip(cut.sources.tolist(), cut.targets.tolist()))
        assert table["to_layer"].tolist() == [graph.layer_of(unit).name for unit in table["target"]]
        assert table["from_layer"].tolist() == [graph.layer_of(unit).name for unit in table["source"]]
        masks = {name: graph.kept[name].unpack().copy() for name in graph.kept}
        for name, entry in zip(table["parameter"], table["entry"]):
            masks[name].reshape(-1)[entry] = False
        assert gs.sparsity(graph.with_masks(masks)).active == 0
        seen += len(table)
    assert seen > 20


def test_rank_butterflies_clustering_and_small_subgraphs():
    names = ["structural_rank", "full_rank", "butterflies", "three_paths", "clustering", "connected_fours"]
    seen = np.zeros(2)
    for graph in list(graphs())[1::3]:
        found = gs.topology(graph, names, encoding="rolled").parameters
        for name, shape in graph.shapes.items():
            for part in ("kept", "active"):
                drawn = rolled(graph, name, part)
                outs = [node for node in drawn if node[0] == "out"]
                row = found.loc[name].xs(part, level="part")
                matched = judge.maximum_matching(drawn, outs) if drawn.edges else {}
                assert row["structural_rank"] == len(matched) / 2
                assert row["full_rank"] == min(shape[0], np.prod(shape[1:]))
                squares = sum(
                    c * (c - 1) // 2 for c in (len(set(drawn[u]) & set(drawn[v])) for u, v in combinations(outs, 2))
                )
                assert row["butterflies"] == squares
                if row["three_paths"]:
                    assert row["clustering"] == pytest.approx(judge.robins_alexander_clustering(drawn))
                else:
                    assert np.isnan(row["clustering"]) and judge.robins_alexander_clustering(drawn) == 0
                ids = {node: n for n, node in enumerate(drawn)}
                fours = igraph.Graph(len(ids), [(ids[u], ids[v]) for u, v in drawn.edges]).motifs_randesu_no(4)
                assert row["connected_fours"] == fours
                seen += (squares, fours)
    assert (seen > 100).all()


def test_closed_forms_of_complete_bipartite_graphs():
    """K(3, 5): C(3,2) C(5,2) butterflies; every path of three closes; each set of four on both sides is joined."""
    found = gs.topology(chain(torch.ones(5, 3)), ["structure"]).parameters.iloc[0].xs("kept", level="part")
    assert found["butterflies"] == 3 * 10 and found["clustering"] == 1
    assert found["three_paths"] == 15 * 2 * 4 and found["connected_fours"] == 70 - 5  # C(8,4), less four of one side
    assert found["structural_rank"] == found["full_rank"] == 3


def test_butterflies_do_not_depend_on_the_side():
    random = np.random.default_rng(1)
    for shape in ((4, 30), (30, 4), (12, 12), (1, 5), (5, 1), (0, 3)):
        dense = random.random(shape) < 0.5
        common = dense.astype(int) @ dense.T.astype(int)
        expected = sum(c * (c - 1) // 2 for c in common[np.triu_indices(len(common), 1)])
        assert count_butterflies(sparse.csr_array(dense)) == count_butterflies(sparse.csr_array(dense.T)) == expected


def by_hand(mask: np.ndarray, size: int) -> list[int]:
    """The connections in each group of neighbouring inputs, of a mask (outputs, inputs, taps)."""
    outputs, inputs, taps = mask.shape
    starts = range(0, inputs, size)
    return [int(mask[o, i : i + size, t].sum()) for o in range(outputs) for i in starts for t in range(taps)]


def test_groups_of_neighbouring_inputs():
    model = nn.Conv2d(10, 6, 2, bias=False)
    for seed in range(4):
        mask = (
            torch.rand(model.weight.shape, generator=torch.Generator().manual_seed(seed)) < (0.1, 0.3, 0.6, 1.0)[seed]
        )
        found = gs.topology(gs.export(model, torch.zeros(1, 10, 4, 4), {"weight": mask}), ["structure"]).total["kept"]
        flat = mask.reshape(6, 10, 4).numpy()
        for size in (4, 8, 16):
            assert found[f"most_of_{size}"] == max(by_hand(flat, size))
        assert found["groups_of_4"] == len(by_hand(flat, 4)) and found["groups_of_8"] == len(by_hand(flat, 8))
        for n, size in ((1, 4), (2, 4), (4, 8)):
            within = sum(count <= n for count in by_hand(flat, size))
            assert found[f"groups_of_{size}_within_{n}"] == within
            share = f"groups_of_{size}_within_{n}_of_groups_of_{size}"
            assert found[share] == within / len(by_hand(flat, size))


def test_a_two_of_four_mask_is_found():
    random = np.random.default_rng(0)
    mask = np.zeros((8, 16), bool)
    for row, start in np.ndindex(8, 4):
        mask[row, 4 * start + random.choice(4, 2, replace=False)] = True
    found = gs.topology(chain(torch.from_numpy(mask)), ["structure"]).total["kept"]
    assert (found["most_of_4"], found["most_of_8"]) == (2, 4) and found["groups_of_4_within_2_of_groups_of_4"] == 1


@pytest.mark.parametrize("block", [(1, 4), (8, 1), (4, 4), (2, 16), (1, 1)])
def test_blocks_are_found(block):
    """Each of 16 x 32 blocks is there or not; the greatest length of which all runs are whole is found, by brute force too."""
    blocks = np.random.default_rng(3).random((16 // block[0] * 2, 64 // block[1])) < 0.5
    mask = np.kron(blocks, np.ones(block)) > 0
    found = gs.topology(chain(torch.from_numpy(mask)), ["structure"]).total["kept"]
    names = {"whole_runs_of_inputs": (0, 1), "whole_runs_of_outputs": (1, 0), "whole_square_blocks": (1, 1)}
    for name, (outputs, inputs) in names.items():
        whole = [n for n in (1, 2, 4, 8, 16, 32) if is_whole(mask, n if outputs else 1, n if inputs else 1)]
        assert found[name] == max(whole)
    assert found["whole_runs_of_inputs"] == block[1] and found["whole_runs_of_outputs"] == block[0]


def is_whole(mask: np.ndarray, outputs: int, inputs: int) -> bool:
    tiles = [
        mask[r : r + outputs, c : c + inputs]
        for r in range(0, len(mask), outputs)
        for c in range(0, mask.shape[1], inputs)
    ]
    return all(tile.all() or not tile.any() for tile in tiles)


def test_a_length_that_does_not_divide_is_no_pattern():
    """6 outputs and 12 inputs in blocks of 6 x 12: 2 divides both, 4 only the inputs."""
    mask = np.concatenate([np.zeros((6, 12)), np.ones((6, 12))], 1)[:, 4:16]  # 8 inputs are not there, 4 are
    found = gs.topology(chain(torch.from_numpy(mask)), ["structure"]).total["kept"]
    names = "whole_runs_of_inputs", "whole_runs_of_outputs", "whole_square_blocks"
    assert [found[name] for name in names] == [4, 2, 2]


def test_all_or_none_is_no_block_pattern():
    found = gs.topology(chain(torch.ones(4, 4), torch.zeros(4, 4)), ["whole_square_blocks"])
    assert found.parameters["whole_square_blocks", "kept"].isna().all()
    assert found.total["undefined"].iloc[0] == "all connections of the parameter are there, or none"


def test_coreness():
    for graph in list(graphs())[::2]:
        found = gs.topology(graph, ["mean_coreness", "greatest_coreness"])
        layers = found.layers
        for part, drawn in parts(graph):
            cores = networkx.core_number(drawn.to_undirected())
            row = found.total[part]
            if not cores:
                assert row.isna().all()
                continue
            assert row["mean_coreness"] == pytest.approx(np.mean(list(cores.values())))
            assert row["greatest_coreness"] == max(cores.values())
            for n, layer in enumerate(graph.layers):
                here = [cores[unit] for unit in range(layer.start, layer.stop) if unit in cores]
                value = layers["mean_coreness", part].iloc[n]
                assert value == pytest.approx(np.mean(here)) if here else np.isnan(value)


def test_modularity_is_that_of_the_communities():
    """Newman's of the whole graph by networkx, Barber's of a parameter by its formula."""
    for graph in list(graphs())[::3]:
        found = gs.topology(graph, ["modularity", "communities"], encoding="rolled")
        drawn = graph.to_networkx().to_undirected()
        if not drawn.edges:
            assert found.total["kept"].isna().all()
            continue
        edges = sparse.csr_matrix(networkx.to_scipy_sparse_array(drawn, range(graph.n_units), weight=None, dtype=bool))
        labels, _ = labels_of(edges, False)
        groups = [set(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)]
        assert found.total.loc["modularity", "kept"] == pytest.approx(
            networkx.community.modularity(drawn, groups, weight=None)
        )
        joined = {label for unit, label in enumerate(labels.tolist()) if drawn.degree[unit]}
        assert found.total.loc["communities", "kept"] == len(joined)
        for name in graph.shapes:
            matrix = gs.biadjacency(graph, name, "rolled").astype(float)
            if not matrix.nnz:
                continue
            left, right = labels_of(sparse.csr_matrix(matrix.astype(bool)), True)
            dense, same = matrix.toarray(), left[:, None] == right
            barber = ((dense - np.outer(dense.sum(1), dense.sum(0)) / dense.sum()) * same).sum() / dense.sum()
            assert found.parameters.loc[name, ("modularity", "kept")] == pytest.approx(barber)


def test_communities_of_two_halves():
    """Two networks side by side: two communities, and half of all edges would lie inside them by chance."""
    half = np.kron(np.eye(2), np.ones((3, 3)))
    found = gs.topology(chain(torch.from_numpy(half), torch.from_numpy(half)), ["modularity", "communities"])
    assert found.total.loc["communities", "kept"] == 2 and found.total.loc["modularity", "kept"] == pytest.approx(0.5)
    assert (found.parameters["communities", "active"] == 2).all()
    assert found.parameters["modularity", "active"].to_numpy() == pytest.approx(0.5)


def test_small_subgraphs_of_all_layers():
    """With every unit in the sample the estimate is the count: all sets of four units, one by one."""
    for graph in list(graphs())[2::5]:
        found = gs.topology(graph, ["sampled_fours"]).total
        for part, drawn in parts(graph):
            plain = drawn.to_undirected()
            joined = {frozenset(edge) for edge in plain.edges}
            for _ in range(2):  # a set that edges join grows out of a smaller one
                joined = {
                    group | {other} for group in joined for unit in group for other in plain[unit] if other not in group
                }
            assert found[part].iloc[0] == len(joined) == sample_fours(graph, graph.n_units, part=part)


def test_an_estimate_is_near_and_repeatable():
    graph = chain(*(torch.rand(60, 60, generator=torch.Generator().manual_seed(n)) < 0.1 for n in range(3)))
    exact = sample_fours(graph, graph.n_units)
    estimates = [sample_fours(graph, 120, seed) for seed in range(20)]
    assert sample_fours(graph, 120, 3) == estimates[3] and len(set(estimates)) > 1
    assert np.mean(estimates) == pytest.approx(exact, rel=0.1)


def test_lognormal_fits_and_quantiles():
    for graph in list(graphs())[1::4]:
        found = gs.topology(graph, ["degrees"]).total
        for part, drawn in parts(graph):
            for way, degrees, ends in (("in", drawn.in_degree, graph.sources), ("out", drawn.out_degree, graph.sinks)):
                every = np.array([d for unit, d in degrees if unit not in set(ends.tolist())])
                row = found[part]
                if not every.size:
                    assert np.isnan(row[f"median_{way}_degree"])
                    continue
                assert row[f"least_{way}_degree"] == every.min() and row[f"median_{way}_degree"] == np.median(every)
                logs = np.log(every[every > 0])
                if logs.size:
                    assert row[f"lognormal_mean_of_{way}_degree"] == pytest.approx(logs.mean())
                    assert row[f"lognormal_spread_of_{way}_degree"] == pytest.approx(logs.std())


def test_the_distribution_of_degrees():
    for graph in list(graphs())[::5]:
        found = degree_counts(graph)
        for part, drawn in parts(graph):
            for n, layer in enumerate(graph.layers):
                rows = found[(found["layer"] == layer.name) & (found["direction"] == "in")]
                degrees = [drawn.in_degree[unit] for unit in range(layer.start, layer.stop) if unit in drawn]
                assert np.repeat(rows["degree"], rows[part]).tolist() == sorted(degrees)


@pytest.mark.parametrize("exponent", [2.2, 3.7])
def test_a_power_law_is_found(exponent):
    """The exponent is the most likely one for what lies above the start, by the likelihood of the zeta distribution."""
    degrees = np.random.default_rng(0).zipf(exponent, 2000)
    found = power_law(degrees)
    tail = degrees[degrees >= found.least]
    cost = lambda alpha: len(tail) * np.log(special.zeta(alpha, found.least)) + alpha * np.log(tail).sum()
    best = optimize.minimize_scalar(cost, bounds=(1.01, 10), method="bounded").x
    assert found.exponent == pytest.approx(best, abs=0.02) and best == pytest.approx(exponent, abs=0.3)
    # powerlaw itself compares above the start; a lognormal sample is told from a power law there
    other = power_law(np.rint(np.random.default_rng(0).lognormal(3, 0.3, 1000)).astype(int))
    assert np.isnan(other.over_lognormal) or other.over_lognormal < found.over_lognormal


def test_no_power_law_of_equal_degrees():
    found = gs.topology(chain(torch.ones(4, 4)), ["power_law_exponent_of_in_degree"]).total
    assert found[["kept", "active"]].isna().all(axis=None) and "no power law" in found["undefined"].iloc[0]


def test_an_extra_that_is_missing(monkeypatch):
    graph = next(graphs())
    for module in ("sknetwork.clustering", "sknetwork.topology", "powerlaw"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("modularity", "mean_coreness", "power_law_chance_of_in_degree"):
        with pytest.raises(MissingExtra, match=r"must be installed.*graphsparse\[topology\]"):
            gs.topology(graph, [name])
    found = gs.topology(graph).total
    assert found.loc[["modularity", "communities", "mean_coreness"], ["kept", "active"]].isna().all(axis=None)
    assert "graphsparse[topology]" in found.loc["modularity", "undefined"]
    assert found.loc["butterflies", "kept"] >= 0


def test_a_row_that_is_too_dear_is_found_by_its_name(monkeypatch):
    graph = next(graphs())
    dear = replace(topology.TABLE["communities"], limit=2)
    monkeypatch.setitem(topology.TABLE, "communities", dear)
    assert (
        "more than 2 edges: ask for it by its name"
        in gs.topology(graph, ["structure"]).total.loc["communities", "undefined"]
    )
    assert gs.topology(graph, ["communities"]).total.loc["communities", "kept"] > 0


def test_units_within_one_and_two_hops():
    """Every unit's out-neighbourhoods in networkx; without sinks, and of the active part without dead units."""
    names = ["mean_within_one_hop", "mean_within_two_hops"]
    seen = 0
    for graph in graphs():
        found = topology.topology(graph, names).total
        for part, drawn in parts(graph):
            units = np.flatnonzero(Part(Swept(graph), part).units)
            units = units[~np.isin(units, graph.sinks)]
            for name, hops in zip(names, (1, 2), strict=True):
                sizes = [
                    len(networkx.single_source_shortest_path_length(drawn, u, hops)) if u in drawn else 1 for u in units
                ]
                expected = np.mean(sizes) if sizes else np.nan
                assert found.loc[name, part] == pytest.approx(expected, nan_ok=True)
                seen += bool(expected > 1)
    assert seen > 20

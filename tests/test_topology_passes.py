"""The fast passes of topology against slow ones: other algebras, every pair of units, SciPy and igraph on random graphs."""

from __future__ import annotations

from functools import reduce

import igraph
import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import nn
from torch.nn import functional

import graphsparse as gs
from graphsparse.algebras import MAX_MIN, MAX_PLUS, MIN_PLUS, PLUS_TIMES, SHORTEST, as_pairs, log10_of_pairs
from graphsparse.blocks import Gate, KernelBlock, Places
from graphsparse.kernels.listed import Listed
from graphsparse.metrics import paths
from graphsparse.metrics.biconnected import Forest
from graphsparse.metrics.bridges import Bridges
from graphsparse.metrics.cones import dense
from graphsparse.metrics.counting import COUNTS, dense_paths, paths_with_lifts
from graphsparse.metrics.dominators import Dominators
from graphsparse.metrics.edges import between, entering
from graphsparse.metrics.ends import prunable_units
from graphsparse.metrics.parts import Part, Swept
from graphsparse.passes.paths import path_counts, revival_costs
from graphsparse.sweep import sweep
from tests.small_graphs import graphs


class Padded(nn.Module):
    """A kernel that is flipped and padded with zeros before it is used."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 3, bias=False), nn.Linear(4, 2)

    def forward(self, x):
        kernel = functional.pad(self.first.weight.flip(1), (0, 0, 0, 1))
        return self.last(torch.relu(functional.linear(x, kernel)))


@pytest.fixture(scope="module")
def swept() -> list[Swept]:
    """Small graphs of every kind, and one whose kernel lies where no strides can say it."""
    groups = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2, padding=1), nn.ConvTranspose2d(4, 2, 2, stride=2, groups=2))
    others = []
    for seed in range(6):
        model, x = ((groups, torch.zeros(1, 2, 3, 3)), (Padded(), torch.zeros(1, 4)))[seed % 2]
        graph = gs.export(model, x, {}, resolution="unrolled")
        generator = torch.Generator().manual_seed(seed)
        masks = {name: torch.rand(shape, generator=generator) < 0.4 for name, shape in graph.shapes.items()}
        others.append(graph.with_masks(masks))
    return [Swept(graph) for graph in (*graphs(), *others)]


def test_counts_in_floats_are_those_in_pairs(swept):
    for each in swept:
        floats, pairs = (paths._log10_found(each, algebra) for algebra in (COUNTS, PLUS_TIMES))
        assert floats.total == pytest.approx(pairs.total, rel=1e-12, nan_ok=True)
        np.testing.assert_allclose(floats.layers, pairs.layers, rtol=1e-12)
        assert floats.parameters == pytest.approx(pairs.parameters, rel=1e-12, nan_ok=True)
        for function in (dense_paths, paths_with_lifts):
            assert function(each, COUNTS) == pytest.approx(function(each, PLUS_TIMES), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("algebra", [COUNTS, PLUS_TIMES, SHORTEST, MAX_PLUS, MAX_MIN])
def test_lists_of_what_is_kept_sweep_as_arrays_do(swept, algebra):
    """Units, connections and the totals of parameters, with another value for each connection."""
    plus = lambda values: reduce(algebra.element.plus, np.asarray(values).ravel().tolist(), algebra.zero)
    numbers, some = np.random.default_rng(0), 0
    for each in swept:
        lists = {}
        for name, entries in each.entries.items():
            values = numbers.integers(1, 9, len(entries.flat))
            lists[name] = Listed(entries, as_pairs(values) if algebra is PLUS_TIMES else values.astype(algebra.dtype))
        arrays = {name: some.dense(algebra.zero).reshape(each.entries[name].mask.shape) for name, some in lists.items()}
        one, other = sweep(each.graph, lists, algebra), sweep(each.graph, arrays, algebra)
        np.testing.assert_allclose(one.signal, other.signal, rtol=1e-12)
        np.testing.assert_allclose(one.reaches, other.reaches, rtol=1e-12)
        totals = paths.totals(one, algebra)
        for name, values in other.connections().items():
            np.testing.assert_allclose(one.connections()[name], values, rtol=1e-12)
            if algebra is not MAX_MIN:
                np.testing.assert_allclose(totals[name], plus(values), rtol=1e-6)
            else:
                assert totals[name] == values.max(initial=-np.inf)
            some += bool((values != algebra.zero).any())
    assert some > 100


def test_runs_say_what_taps_read():
    padding = nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.Conv2d(1, 1, 3, dilation=2, padding=2), nn.Conv2d(1, 1, 2)
    for model in (
        *padding,
        nn.ConvTranspose2d(1, 1, 3, stride=2),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
    ):
        for block in gs.export(model, torch.zeros(1, 1, 5, 7), {}).kernels["weight"]:
            runs, bounds, steps = block.taps.runs
            read = np.full(block.taps.table.shape, -1)
            for k, step in enumerate(steps.tolist()):
                for p, q, n in runs[bounds[k] : bounds[k + 1]].tolist():
                    read[k, p : p + n] = q + step * np.arange(n)
            np.testing.assert_array_equal(read, block.taps.table)


def test_a_network_with_nothing_dropped_is_summed_at_once(swept):
    """Against the sweep that goes over every connection."""
    for each in swept:
        whole = dense(each.graph)
        values = path_counts(whole).signal[whole.sinks]
        expected = float(np.sum(10.0 ** log10_of_pairs(values)))
        assert 10 ** dense_paths(each, COUNTS) == pytest.approx(expected, rel=1e-9)


def test_floats_that_overflow_give_way_to_pairs():
    net = nn.Sequential(*(nn.Linear(100, 100, bias=False) for _ in range(80)))
    graph = gs.export(net, torch.zeros(1, 100), {})
    with pytest.raises(OverflowError):
        dense_paths(Swept(graph), COUNTS)
    with pytest.raises(OverflowError):
        paths_with_lifts(Swept(graph), COUNTS)
    values = gs.topology(graph, ["log10_paths", "log10_paths_of_dense_paths", "log10_paths_with_biases"]).total["kept"]
    assert values["log10_paths"] == values["log10_paths_with_biases"] == pytest.approx(162, rel=1e-12)
    assert values["log10_paths_of_dense_paths"] == pytest.approx(0, abs=1e-9)


def test_revival_costs_are_those_of_the_general_algebra(swept):
    for each in swept:
        graph, found = each.graph, revival_costs(each.graph)
        values = {name: np.where(graph.kept[name].unpack(), 0.0, 1.0) for name in (*graph.shapes, *graph.uses)}
        slow = sweep(graph, values, MIN_PLUS)
        np.testing.assert_array_equal(found.signal, slow.signal)
        np.testing.assert_array_equal(found.reaches, slow.reaches)
        if graph.gated:
            np.testing.assert_array_equal(found.nonzero, slow.nonzero)
        fast, expected = found.connections(), slow.connections()
        for name in graph.shapes:
            np.testing.assert_array_equal(fast[name], expected[name])


def pairs_of(graph: gs.LayeredGraph, kept) -> set[tuple[int, int]]:
    found = set()
    for layer in graph.layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock):
                sources, targets, _ = block.pairs(kept)
                found |= set(zip(sources.tolist(), targets.tolist(), strict=True))
    return found


def test_units_with_a_connection(swept):
    active = 0
    for each in swept:
        graph, found = each.graph, each.liveness
        pairs = pairs_of(graph, graph.kept)
        assert set(np.flatnonzero(Part(each, "kept").joined)) == {unit for pair in pairs for unit in pair}
        alive = {(u, v) for u, v in pairs if found.signal[u] and found.reaches[v]}
        assert set(np.flatnonzero(Part(each, "active").joined)) == {unit for pair in alive for unit in pair}
        whole = dense(graph).kept
        assert set(np.flatnonzero(prunable_units(graph))) == {u for pair in pairs_of(graph, whole) for u in pair}
        active += len(alive)
    assert active > 200


def test_edges_between_are_those_edges(swept):
    for each in swept:
        matrix, found = each.graph.adjacency(), each.liveness
        chosen = between(matrix, found.signal, found.reaches)
        rows, columns = matrix.nonzero()
        use = found.signal[rows] & found.reaches[columns]
        assert set(zip(*(ids.tolist() for ids in chosen.nonzero()))) == set(
            zip(rows[use].tolist(), columns[use].tolist())
        )
        np.testing.assert_array_equal(each.in_degrees["active"], each.edges["active"].sum(0, dtype=int))
    every = np.ones(matrix.shape[0], bool)
    assert between(matrix, every, every) is matrix


def random_edges(seed: int, n: int = 60) -> sparse.csr_array:
    """A graph whose edges lead to greater ids."""
    rng = np.random.default_rng(seed)
    return sparse.csr_array(np.triu(rng.random((n, n)) < (0.02, 0.05, 0.15)[seed % 3], 1))


@pytest.mark.parametrize("seed", range(12))
def test_components_of_random_graphs(seed):
    edges = random_edges(seed)
    count, labels = connected_components(edges, directed=False)
    sizes = np.bincount(labels, minlength=count)
    assert sorted(Bridges.of(edges).sizes.tolist()) == sorted(sizes[sizes > 1].tolist())


@pytest.mark.parametrize("seed", range(36))
def test_blocks_edge_by_edge_in_any_order(seed):
    """After each batch of edges, in random order and partly told twice, the bridges and articulation points are igraph's."""
    rng, n = np.random.default_rng(seed), (8, 30, 80)[seed % 3]
    edges = np.argwhere(np.triu(rng.random((n, n)) < rng.uniform(0.5, 3) / n, 1))
    rng.shuffle(edges)
    forest = Forest.of(n)
    for stop in np.linspace(0, len(edges), 5).astype(int).tolist():
        there = edges[:stop]
        forest.insert(sparse.csr_array((np.ones(stop, bool), tuple(there.T)), (n, n)))
        judge = igraph.Graph(n, there.tolist())
        found = Bridges.within(forest)
        bridges = zip(found.sources.tolist(), found.targets.tolist(), strict=True)
        assert sorted(bridges) == sorted(tuple(there[e].tolist()) for e in judge.bridges())
        assert np.flatnonzero(found.articulation).tolist() == sorted(judge.articulation_points())
        assert sorted(found.sizes.tolist()) == sorted(k for k in judge.connected_components().sizes() if k > 1)


@pytest.mark.parametrize("seed", range(12))
def test_dominators_of_random_graphs(seed):
    """Against igraph, several sources and sinks under one root; the greatest loss by an edge against every edge."""
    edges, n = random_edges(seed), 60
    sources, sinks = np.asarray([0, 1, 2, 5]), np.asarray([50, 57, 59])
    pairs = list(zip(*(ids.tolist() for ids in edges.nonzero()), strict=True))
    joined = [*pairs, *((n, unit) for unit in sources.tolist()), *((unit, n + 1) for unit in sinks.tolist())]
    judge = igraph.Graph(n + 2, joined, directed=True)
    live = np.zeros(n, bool)
    live[[u for u in set(judge.subcomponent(n, "out")) & set(judge.subcomponent(n + 1, "in")) if u < n]] = True
    active = between(edges, live, live)
    found = Dominators.of(active, entering(active), sources, sinks, live)
    within = igraph.Graph(n + 2, [pair for pair in joined if all(u >= n or live[u] for u in pair)], directed=True)
    for tree, root, mode in ((found.forwards, n, "out"), (found.backwards, n + 1, "in")):
        expected = within.dominator(root, mode=mode)
        for unit in np.flatnonzero(live).tolist():
            assert (root if tree[unit] == -1 else tree[unit]) == expected[unit]
    lost, targets = found.retained_by_edges, active.indices
    for unit in range(n):
        assert found.most_retained_by_edges[unit] == max(lost[targets == unit].tolist(), default=-1)


def test_products_and_kernels_without_strides_are_among_the_graphs(swept):
    blocks = [block for each in swept for layer in each.graph.layers for block in layer.blocks]
    assert any(isinstance(block, Gate) for block in blocks)
    assert any(isinstance(block, KernelBlock) and isinstance(block.view, Places) for block in blocks)

"""Every algebra against all paths of small graphs, one by one, with gates, constants, shared kernels, both resolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product as pairs

import networkx
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import graphsparse as gs
from graphsparse.algebras import MAX_MIN_64, MAX_PLUS, OR_AND, PLUS_TIMES, SHORTEST, Element, from_pairs, log10_of_pairs
from graphsparse.blocks import Gate, KernelBlock
from graphsparse.errors import ArgumentError, MaskError
from graphsparse.kernels.numbers import Numbers
from graphsparse.passes.paths import longest_paths, path_counts, revival_costs, shortest_paths
from graphsparse.sweep import sweep
from tests.small_graphs import Convolved


class Small(nn.Module):
    """A skip, a kernel used twice, and a gate whose one side may be held up by a constant alone."""

    def __init__(self, gated: bool):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(3, 4, bias=False), nn.Linear(4, 4), nn.Linear(4, 2, bias=False)
        self.gated = gated

    def forward(self, x):
        x = torch.relu(self.first(x))
        y = self.shared(torch.relu(self.shared(x))) + x
        return self.last(y * torch.sigmoid(self.shared(x)) if self.gated else y)


@cache
def graphs(gated: bool = True) -> list[gs.LayeredGraph]:
    """Small graphs under random masks, some of which leave nothing; captured once."""
    found = []
    for seed, resolution in pairs(range(3), ("unrolled", "channel")):
        torch.manual_seed(seed)
        models = [(Small(False), torch.zeros(1, 3)), (Convolved(), torch.zeros(1, 1, 4, 4))]
        for model, x in [*models, (Small(True), torch.zeros(1, 3))] if gated else models:
            graph = gs.export(model, x, {}, resolution=resolution)
            masks = {name: torch.rand(shape) < (0.35, 0.6, 0.9)[seed] for name, shape in graph.shapes.items()}
            found.append(graph.with_masks(masks))
    return found


Step = tuple[int, int, str | None, int]
"""Source, target, parameter (None for a wire) and its entry."""


def steps(graph: gs.LayeredGraph) -> list[Step]:
    """Every way from one unit to another, dropped connections included; a product where the other operand is not zero."""
    whole = graph.with_masks({})
    nonzero = sweep(graph, states=True).nonzero
    found: list[Step] = []
    for layer in whole.layers:
        for block in layer.blocks:
            if isinstance(block, Gate):
                for a, b, t in zip(block.lefts.tolist(), block.rights.tolist(), block.targets.tolist(), strict=True):
                    there = lambda unit: unit == -2 or unit >= 0 and bool(nonzero[unit])
                    found += [(u, t, None, 0) for u, other in ((a, b), (b, a)) if u >= 0 and there(other)]
                continue
            sources, targets, entries = block.pairs(whole.kept)
            name = block.parameter if isinstance(block, KernelBlock) else None
            entries = np.zeros(len(sources), int) if entries is None else entries
            found += zip(sources.tolist(), targets.tolist(), [name] * len(sources), entries.tolist(), strict=True)
    return found


def paths(graph: gs.LayeredGraph, usable: Callable[[Step], bool]) -> Iterator[list[Step]]:
    """Every path from a source to a sink along usable steps."""
    leaving: dict[int, list[Step]] = {}
    for step in filter(usable, steps(graph)):
        leaving.setdefault(step[0], []).append(step)
    sinks = set(graph.sinks.tolist())

    def onwards(unit: int, path: list[Step]) -> Iterator[list[Step]]:
        if unit in sinks:
            yield path
        for step in leaving.get(unit, []):
            yield from onwards(step[1], [*path, step])

    for source in graph.sources.tolist():
        yield from onwards(source, [])


def joined(graph, usable, worth, plus, zero) -> dict[str, np.ndarray]:
    """For every connection the sum over all paths through it of what each is worth, path by path."""
    found = {name: np.full(shape, zero, float).reshape(-1) for name, shape in graph.shapes.items()}
    for path in paths(graph, usable):
        for name, entry in {(name, entry) for _, _, name, entry in path if name is not None}:
            times = sum(step[2:] == (name, entry) for step in path)  # a shared connection may come twice on one path
            for _ in range(times if plus is np.add else 1):
                found[name][entry] = plus(found[name][entry], worth(path))
    return {name: array.reshape(graph.shapes[name]) for name, array in found.items()}


def kept_in(graph: gs.LayeredGraph) -> Callable[[Step], bool]:
    masks = {name: graph.kept[name].unpack().reshape(-1) for name in graph.shapes}
    return lambda step: step[2] is None or bool(masks[step[2]][step[3]])


def length(path: list[Step]) -> int:
    return sum(name is not None for _, _, name, _ in path)


def test_path_counts():
    for graph in graphs():
        expected = joined(graph, kept_in(graph), lambda path: 1, np.add, 0)
        for name, found in path_counts(graph).connections().items():
            np.testing.assert_array_equal(from_pairs(found), expected[name])


def test_weighted_path_counts_are_gradients():
    """The sum of outputs for inputs of one: a weight times its gradient is the weight of the paths through it."""
    for seed in range(3):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.AvgPool2d(2), nn.Flatten(),
                              nn.Linear(12, 5, bias=False), nn.Linear(5, 2, bias=False)).double()  # fmt: skip
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.abs() * (torch.rand(parameter.shape) < 0.6))
        graph = gs.export(model, torch.ones(1, 1, 4, 4, dtype=torch.float64))
        weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
        found = path_counts(graph, weights).connections()
        (model(torch.ones(1, 1, 4, 4, dtype=torch.float64)) * 4).sum().backward()  # a mean over four is a sum of wires
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(
                from_pairs(found[name]), (parameter.grad * parameter).detach().numpy(), rtol=1e-12
            )


def test_counts_beyond_every_float():
    """Each of 300 layers of 20 units multiplies by 20: 10 ** 390 paths, none lost."""
    graph = gs.export(nn.Sequential(*(nn.Linear(20, 20, bias=False) for _ in range(300))), torch.zeros(1, 20), {})
    found = path_counts(graph)
    through = log10_of_pairs(found.connections()["150.weight"])
    np.testing.assert_allclose(through, 299 * np.log10(20), rtol=1e-12)
    assert not np.isfinite(from_pairs(found.connections()["150.weight"])).any()


def test_lengths():
    for graph in graphs():
        for found, plus, zero in ((shortest_paths(graph), min, np.inf), (longest_paths(graph), max, -np.inf)):
            expected = joined(graph, kept_in(graph), length, plus, zero)
            for name, array in found.connections().items():
                np.testing.assert_array_equal(array, expected[name])


def test_the_fewest_connections_that_bring_one_back():
    for graph in graphs(gated=False):
        kept = kept_in(graph)
        lacking = lambda path, kept=kept: len({step[2:] for step in path if not kept(step)})
        cost = lambda path, kept=kept: sum(not kept(step) for step in path)
        expected = joined(graph, lambda step: True, cost, min, np.inf)
        fewest = joined(graph, lambda step: True, lacking, min, np.inf)
        for name, found in revival_costs(graph).connections().items():
            np.testing.assert_array_equal(found, expected[name])
            assert (found >= fewest[name]).all()  # a shared connection that comes back counts each time a path takes it
            alive = gs.effective_masks(graph)[name].numpy()
            np.testing.assert_array_equal(found == 0, alive)


def test_the_widest_path():
    rng = np.random.default_rng(0)
    for graph in graphs(gated=False):
        scores = {
            name: np.where(graph.kept[name].unpack(), rng.random(shape), -np.inf)
            for name, shape in graph.shapes.items()
        }
        least = lambda path, s=scores: min(
            (s[n].reshape(-1)[e] for _, _, n, e in path if n is not None), default=np.inf
        )
        expected = joined(graph, kept_in(graph), least, max, -np.inf)
        for name, found in sweep(graph, scores, MAX_MIN_64).connections().items():
            np.testing.assert_array_equal(found, expected[name])


def test_networkx_agrees_on_lengths_and_counts():
    for graph in graphs(gated=False):
        drawn = networkx.MultiDiGraph()
        drawn.add_nodes_from(range(graph.n_units))
        for u, v, name, _ in filter(kept_in(graph), steps(graph)):
            drawn.add_edge(u, v, length=int(name is not None))
        signal = shortest_paths(graph).signal
        hops = networkx.multi_source_dijkstra_path_length(drawn, set(graph.sources.tolist()), weight="length")
        assert {u: float(n) for u, n in hops.items()} == {u: n for u, n in enumerate(signal) if n < np.inf}
        counts = dict.fromkeys(drawn, 0)
        counts.update(dict.fromkeys(graph.sources.tolist(), 1))
        for unit in networkx.topological_sort(drawn):
            for _, target in drawn.out_edges(unit):
                counts[target] += counts[unit]
        np.testing.assert_array_equal(from_pairs(path_counts(graph).signal), [counts[u] for u in range(graph.n_units)])


class MostReliable(Element):
    """Each connection holds with a probability; of parallel paths the likeliest counts."""

    @staticmethod
    def plus(a, b):
        return max(a, b)

    @staticmethod
    def times(a, b):
        return a * b


def test_an_algebra_is_one_small_class():
    algebra = Numbers("most_reliable", MostReliable(0.0, 1.0), np.dtype(float), True)
    rng = np.random.default_rng(0)
    for graph in graphs():
        chance = {
            name: np.where(graph.kept[name].unpack(), rng.random(shape), 0) for name, shape in graph.shapes.items()
        }
        worth = lambda path, c=chance: np.prod([c[n].reshape(-1)[e] for _, _, n, e in path if n is not None])
        expected = joined(graph, kept_in(graph), worth, max, 0)
        for name, found in sweep(graph, chance, algebra).connections().items():
            np.testing.assert_allclose(found, expected[name], rtol=1e-12)


@pytest.mark.parametrize("algebra", [PLUS_TIMES, SHORTEST, MAX_PLUS])
def test_what_is_not_zero_is_alive(algebra):
    for graph in graphs():
        for name, found in sweep(graph, algebra=algebra).connections().items():
            np.testing.assert_array_equal(found != algebra.zero, gs.effective_masks(graph)[name].numpy())


@pytest.mark.parametrize("count", [1, 64, 100])
def test_many_masks_at_once(count):
    generator = torch.Generator().manual_seed(0)
    for graph in graphs():
        masks = {name: torch.rand((count, *shape), generator=generator) < 0.5 for name, shape in graph.shapes.items()}
        found = gs.sparsity_of(graph, masks)
        for m in range(0, count, 7):
            one = gs.sparsity(graph.with_masks({name: stacked[m] for name, stacked in masks.items()})).frame
            assert found.kept[m].tolist() == one["kept"].tolist()
            assert found.active[m].tolist() == one["active"].tolist()
        assert found.frame.loc[0, "kept"].tolist() == found.kept[0].tolist()


def test_many_masks_as_words():
    graph = graphs()[0]
    rng = np.random.default_rng(1)
    words = {name: rng.integers(0, 2**63, (2, *shape), np.uint64) for name, shape in graph.shapes.items()}
    bits = np.arange(64, dtype=np.uint64)
    masks = {
        name: np.concatenate([(w[None] >> bits.reshape(-1, *[1] * w.ndim)) & np.uint64(1) for w in array]).astype(bool)
        for name, array in words.items()
    }
    one, two = gs.sparsity_of(graph, words), gs.sparsity_of(graph, masks)
    np.testing.assert_array_equal(one.active, two.active)
    np.testing.assert_array_equal(one.kept, two.kept)


@pytest.mark.parametrize("dtype", [bool, np.uint64])
def test_no_masks_have_no_counts(dtype):
    graph = graphs()[0]
    found = gs.sparsity_of(graph, {name: np.zeros((0, *shape), dtype) for name, shape in graph.shapes.items()})
    assert found.kept.shape == found.active.shape == (0, len(graph.shapes))
    assert found.direct.shape == (0,) and not len(found.frame)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_kernels_without_entries():
    """Nothing passes a layer of no units, in any algebra, for many masks, and by every metric."""
    layers = nn.Sequential(nn.Linear(3, 0, bias=False), nn.Linear(0, 2, bias=False), nn.Linear(2, 1, bias=False))
    graph = gs.export(layers, torch.zeros(1, 3), {})
    for algebra in (OR_AND, MAX_MIN_64, PLUS_TIMES):
        found = sweep(graph, algebra=algebra)
        assert list(found.count().values()) == [0, 0, 0]
        assert [np.shape(each) for each in found.connections().values()] == [(0, 3), (2, 0), (1, 2)]
    masks = {name: np.ones((70, *shape), bool) for name, shape in graph.shapes.items()}
    many = gs.sparsity_of(graph, masks)
    assert not many.active.any() and many.kept.tolist() == [[0, 0, 2]] * 70
    total = gs.topology(graph).total
    assert total.loc[["connections", "dead", "beyond_revival", "cut_from_sources"], "kept"].tolist() == [2, 2, 2, 2]


class OneOfTwo(nn.Module):
    """Two modules with one kernel, one of which is never called."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.two(x)


def test_many_masks_of_a_use_that_keeps_less_and_of_two_names():
    """The one use of a parameter may keep less than the parameter, and masks under two names must agree."""
    model = OneOfTwo()
    prune.custom_from_mask(model.two, "weight", torch.eye(3))
    graph = gs.export(model, torch.zeros(1, 3))
    kept = np.ones((2, 3, 3), bool)
    found, one = gs.sparsity_of(graph, {"one.weight": kept}), gs.sparsity(graph.with_masks({"one.weight": kept[0]}))
    assert (
        found.kept.tolist() == [[9], [9]] == [[one.kept]] * 2
        and found.active.tolist() == [[3], [3]] == [[one.active]] * 2
    )
    assert gs.sparsity_of(graph, {"one.weight": kept, "two.weight": kept}).kept.tolist() == [[9], [9]]
    with pytest.raises(
        MaskError, match="masks under two names of one parameter must agree, at one.weight and two.weight"
    ):
        gs.sparsity_of(graph, {"one.weight": kept, "two.weight": ~kept})


def test_masks_that_do_not_fit_are_refused():
    graph = gs.export(nn.Linear(2, 1), torch.zeros(1, 2), {})
    for masks, text in [
        ({"nope": torch.ones(1, 1, 2) > 0}, "must go by the graph's parameters, at nope"),
        ({"weight": torch.ones(1, 2) > 0}, "must be stacked along the first axis, at weight"),
        ({"weight": torch.ones(1, 1, 2)}, "must be boolean, or words of uint64, at weight"),
    ]:
        with pytest.raises(MaskError, match=text):
            gs.sparsity_of(graph, masks)


def test_values_that_lack_a_parameter_are_refused():
    graph = graphs()[0]
    values = {name: PLUS_TIMES.of_mask(graph.kept[name]) for name in list(graph.shapes)[1:]}
    with pytest.raises(
        ArgumentError, match=f"values must hold every parameter of the graph.*{next(iter(graph.shapes))}"
    ):
        sweep(graph, values, PLUS_TIMES)


@pytest.mark.parametrize("algebra", [PLUS_TIMES, MAX_MIN_64, OR_AND], ids=lambda each: each.name)
@pytest.mark.parametrize("values", [np.ones(1), np.ones((2, 1)), np.ones((7, 2))], ids=lambda each: str(each.shape))
def test_values_of_another_shape_are_refused(algebra, values):
    graph = gs.export(nn.Linear(2, 1, bias=False), torch.zeros(1, 2), {})
    with pytest.raises(gs.ArgumentError, match=r"values .*must .* shape \(1, 2\), at weight"):
        sweep(graph, {"weight": values}, algebra)


def test_values_are_taken_in_the_type_of_the_algebra():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    graph = gs.export(model, torch.zeros(1, 2), {})
    for ones in (np.ones((2, 2), int), np.ones((2, 2), bool), torch.ones(2, 2)):
        found = sweep(graph, {"0.weight": ones, "1.weight": np.array([[0.5, 0.2]])}, MAX_MIN_64).connections()
        assert found["0.weight"].tolist() == [[0.5, 0.5], [0.2, 0.2]]

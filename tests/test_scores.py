"""Effective scores against thresholding, connection for connection; targets against the paper's bisection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import graphsparse as gs
from graphsparse import zoo
from graphsparse.errors import MaskError, TargetError
from graphsparse.passes.liveness import active_connections
from graphsparse.passes.scores import effective_scores
from graphsparse.pruning.prune import active_at
from tests.models import Gated, Random, Residual


def drawn(graph: gs.LayeredGraph, seed: int, levels: int | None = None) -> dict[str, np.ndarray]:
    """Random scores, with many ties where ``levels`` is given."""
    rng = np.random.default_rng(seed)
    scores = {name: rng.random(shape, np.float32) for name, shape in graph.shapes.items()}
    return (
        scores
        if levels is None
        else {name: np.floor(array * levels).astype(np.float32) for name, array in scores.items()}
    )


def assert_thresholds(graph: gs.LayeredGraph, scores: dict[str, np.ndarray], count: int = 6) -> None:
    """Among connections that score at least t the active ones are those whose effective score is at least t."""
    found = effective_scores(graph, scores)
    flat = np.sort(np.concatenate([array.ravel() for array in scores.values()]))
    for threshold in flat[np.linspace(0, len(flat) - 1, count).astype(int)]:
        masks = {name: (array >= threshold) & graph.kept[name].unpack() for name, array in scores.items()}
        active = active_connections(graph.with_masks({**graph.masks, **masks}))
        for name in active:
            np.testing.assert_array_equal(found[name] >= threshold, active[name])


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@settings(max_examples=8, deadline=None)
@given(
    plan=st.lists(st.integers(0, 95), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    levels=st.sampled_from([None, 4]),
)
def test_random_networks(resolution, plan, seed, levels):
    model = Random(plan)
    try:
        model(torch.zeros(1, 4, 7, 7))
    except RuntimeError:
        return  # the plan shrank the image away
    graph = gs.export(model, torch.zeros(1, 4, 7, 7), {}, resolution=resolution)
    assert_thresholds(graph, drawn(graph, seed, levels))


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
def test_skips_shared_and_gated(resolution):
    graph = gs.export(Residual(), (torch.zeros(1, 2, 7, 7), torch.zeros(1, 5)), {}, resolution=resolution)
    assert_thresholds(graph, drawn(graph, 0), 12)
    for f in (torch.tanh, torch.sigmoid):
        for bias in (False, True):
            graph = gs.export(Gated(f, bias), torch.zeros(1, 2), {}, resolution=resolution)
            for seed in range(5):
                assert_thresholds(graph, drawn(graph, seed, 5), 9)


@pytest.mark.parametrize("name", ["lenet300100", "lenet5"])
def test_zoo(name):
    graph = gs.export(zoo.build(name), torch.zeros(1, *zoo.input_shape(name)), {})
    assert_thresholds(graph, drawn(graph, 1), 5)
    dropped = graph.with_masks({n: np.random.default_rng(0).random(s) < 0.3 for n, s in graph.shapes.items()})
    assert_thresholds(dropped, drawn(graph, 2), 4)


def test_kernels_without_scores_are_kept_and_dropped_ones_never_come_back():
    """Saturated maps beside empty ones: every second kernel is kept throughout, and masks leave little of all."""
    graph = gs.export(zoo.build("lenet5"), torch.zeros(1, 3, 32, 32), {})
    rng = np.random.default_rng(0)
    for density in (0.5, 0.05, 0.01):
        masked = graph.with_masks({name: rng.random(shape) < density for name, shape in graph.shapes.items()})
        scores = {name: array for name, array in list(drawn(graph, 3, 20).items())[::2]}
        found = effective_scores(masked, scores)
        for threshold in (0, 3, 12, 19):
            kept = {
                name: masked.masks[name].unpack() & (scores[name] >= threshold if name in scores else True)
                for name in graph.shapes
            }
            active = active_connections(graph.with_masks(kept))
            for name in active:
                np.testing.assert_array_equal(found[name] >= threshold, active[name])


def test_worked_by_hand():
    """Two layers of two: the path over unit 0 has scores 5 and 3, that over unit 1 has 2 and 7; 9 leads to nothing."""
    graph = gs.export(nn.Sequential(nn.Linear(1, 3, bias=False), nn.Linear(3, 1, bias=False)), torch.zeros(1, 1),
                      {"1.weight": torch.tensor([[True, True, False]])})  # fmt: skip
    scores = {"0.weight": torch.tensor([[5.0], [2.0], [9.0]]), "1.weight": torch.tensor([[3.0, 7.0, 8.0]])}
    found = gs.effective_scores(graph, scores)
    assert found["0.weight"].flatten().tolist() == [3.0, 2.0, -np.inf] and found["1.weight"].tolist() == [
        [3.0, 2.0, -np.inf]
    ]


def test_the_curve_counts_every_threshold():
    graph = gs.export(zoo.build("lenet5"), torch.zeros(1, 3, 32, 32), {})
    scores = drawn(graph, 0, 50)
    curve = gs.compression_curve(graph, scores)
    assert len(curve.thresholds) == 50 and curve.kept[-1] == graph.n_connections == curve.active[-1]
    for at in (0, 1, 5, 20, 49):
        masks = {name: array >= curve.thresholds[at] for name, array in scores.items()}
        found = gs.sparsity(graph.with_masks(masks))
        assert (found.kept, found.active) == (curve.kept[at], curve.active[at])


def bisected(graph: gs.LayeredGraph, scores: dict[str, np.ndarray], wanted: int) -> dict[str, np.ndarray]:
    """The paper's search: over how many connections to keep, sorted by score, a sweep each; the active ones found."""
    flat = np.sort(np.concatenate([array.ravel() for array in scores.values()]))[::-1]

    def active(kept: int) -> dict[str, np.ndarray]:
        return active_connections(graph.with_masks({name: array >= flat[kept - 1] for name, array in scores.items()}))

    low, high = 1, len(flat)
    while low < high:
        middle = (low + high) // 2
        if sum(int(mask.sum()) for mask in active(middle).values()) >= wanted:
            high = middle
        else:
            low = middle + 1
    return active(low)


@pytest.mark.parametrize("compression", [3, 30, 300, 2000])
@pytest.mark.parametrize(("name", "levels"), [("lenet300100", None), ("lenet5", None), ("lenet5", 200)])
def test_the_selection_is_the_bisections(name, levels, compression):
    graph = gs.export(zoo.build(name), torch.zeros(1, *zoo.input_shape(name)), {})
    scores, wanted = drawn(graph, 3, levels), graph.n_connections // compression
    masks, theirs = active_at(graph, scores, wanted)[0], bisected(graph, scores, wanted)
    assert sum(int(mask.sum()) for mask in masks.values()) >= wanted
    for found in masks:
        np.testing.assert_array_equal(masks[found], theirs[found])


def test_bad_scores_are_refused():
    graph = gs.export(nn.Linear(2, 2), torch.zeros(1, 2), {})
    for scores, text in [
        ({"weight": np.full((2, 2), np.nan)}, "a score must be a number, at weight"),
        ({"weight": np.zeros((1, 2))}, "a score must have the shape of its parameter, at weight"),
        ({"nope": np.zeros((2, 2))}, "scores must go by the graph's parameters, at nope"),
    ]:
        with pytest.raises(MaskError, match=text):
            gs.effective_scores(graph, scores)
    with pytest.raises(TargetError, match="highest effective compression of this ranking is 2.0"):
        active_at(graph.with_masks({"weight": torch.eye(2).bool()}), {"weight": np.ones((2, 2))}, 1)

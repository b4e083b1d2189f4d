"""Reshuffling: the same counts in each layer, other places."""

from __future__ import annotations

import numpy as np
import torch

from graphsparse.pruning.ranks import random_ranks, scores_in_order
from graphsparse.pruning.reshuffle import reshuffle


def masks():
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape, generator=generator) < 0.3 for name, shape in [("a", (20, 30)), ("b", (8, 4, 3, 3))]
    }


def test_counts_stay_and_places_change():
    before = masks()
    after = reshuffle(before, seed=1)
    assert list(after) == list(before)
    for name, mask in before.items():
        assert after[name].dtype == torch.bool and after[name].shape == mask.shape
        assert after[name].sum() == mask.sum()
        assert not torch.equal(after[name], mask)
    assert all(torch.equal(mask, again) for mask, again in zip(before.values(), masks().values())), (
        "the given masks stay"
    )


def test_the_seed_decides():
    first, again, other = (reshuffle(masks(), seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_numpy_and_torch_move_alike():
    arrays = reshuffle({name: mask.numpy() for name, mask in masks().items()}, seed=1)
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert all((arrays[name] == mask.numpy()).all() for name, mask in reshuffle(masks(), seed=1).items())


def test_every_place_is_equally_likely():
    counts = np.zeros((3, 4))
    for seed in range(1200):
        counts += reshuffle({"a": np.arange(12).reshape(3, 4) < 3}, seed)["a"]
    assert abs(counts - 300).max() < 5 * np.sqrt(1200 * 0.25 * 0.75)


def test_reshuffled_scores_are_random_pruning_under_their_sparsities():
    scores = {"a": np.random.default_rng(0).random((6, 7)), "b": np.random.default_rng(1).random((5, 5))}
    moved = reshuffle(scores, seed=3)
    ordered = scores_in_order(scores, random_ranks({"a": (6, 7), "b": (5, 5)}, seed=3))
    for threshold in (0.1, 0.5, 0.9):
        for name in scores:
            assert (
                (moved[name] >= threshold).sum()
                == (scores[name] >= threshold).sum()
                == (ordered[name] >= threshold).sum()
            )

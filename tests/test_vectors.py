"""The reference vectors: sixty cases over the five architectures, agreed to the last connection."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import graphsparse as gs
from graphsparse import zoo
from graphsparse.training.on_device import DeviceSweep

REFERENCE = json.loads((Path(__file__).parent / "reference" / "vectors.json").read_text())


def redrawn(case: dict) -> list[np.ndarray]:
    """The masks of a case, by the recipe of the reference."""
    rng, masks = np.random.default_rng(case["seed"]), []
    for shape, sparsity in zip(REFERENCE["architectures"][case["arch"]]["shapes"], case["sparsities"], strict=True):
        n = int(np.prod(shape))
        mask = np.ones(n, bool)
        mask[rng.choice(n, round(float(sparsity) * n), replace=False)] = False
        masks.append(mask.reshape(shape))
    return masks


def digest(masks: list[np.ndarray]) -> str:
    return hashlib.sha256(np.packbits(np.concatenate([mask.ravel() for mask in masks])).tobytes()).hexdigest()


@pytest.mark.parametrize("architecture", list(REFERENCE["architectures"]))
def test_every_case_agrees_to_the_last_connection(architecture):
    """On a device too: a GPU, or a processor that stands in for it."""
    cases = [case for case in REFERENCE["vectors"] if case["arch"] == architecture]
    assert len(cases) == 12
    network = gs.network(zoo.build(architecture), torch.zeros(1, *REFERENCE["architectures"][architecture]["input"]))
    graphs = {resolution: gs.export(network, {}, resolution=resolution) for resolution in ("unrolled", "channel")}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    on_device = {resolution: DeviceSweep(graph, device) for resolution, graph in graphs.items()}
    for case in cases:
        masks = redrawn(case)  # most of the time
        assert digest(masks) == case["sha256_masks"]
        for resolution, graph in graphs.items():
            assert [list(s) for s in graph.shapes.values()] == REFERENCE["architectures"][architecture]["shapes"]
            named = dict(zip(graph.shapes, masks, strict=True))
            found = gs.effective_masks(graph.with_masks(named))
            assert [int(mask.sum()) for mask in found.values()] == case[resolution], (case["family"], resolution)
            if resolution == "unrolled":
                assert digest([mask.numpy() for mask in found.values()]) == case["sha256_unrolled"]
            given = {name: torch.from_numpy(mask).to(device) for name, mask in named.items()}
            for name, mask in on_device[resolution].effective_masks(given).items():
                assert torch.equal(mask.cpu(), found[name]), (name, resolution)

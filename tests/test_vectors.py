"""The reference vectors: sixty cases over the five architectures, agreed to the last connection."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

import graphsparse as gs
from graphsparse import zoo
from graphsparse.training.on_device import DeviceSweep

REFERENCE = json.loads((Path(__file__).parent / "reference" / "vectors.json").read_text())


@lru_cache(maxsize=2)
def captured(architecture: str, resolution: str) -> gs.LayeredGraph:
    example = torch.zeros(1, *REFERENCE["architectures"][architecture]["input"])
    return gs.export(zoo.build(architecture), example, {}, resolution=resolution)


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


@pytest.mark.parametrize("resolution", ["unrolled", "channel"])
@pytest.mark.parametrize("architecture", list(REFERENCE["architectures"]))
def test_every_case_agrees_to_the_last_connection(architecture, resolution):
    cases = [case for case in REFERENCE["vectors"] if case["arch"] == architecture]
    assert len(cases) == 12
    graph = captured(architecture, resolution)
    assert [list(shape) for shape in graph.shapes.values()] == REFERENCE["architectures"][architecture]["shapes"]
    on_devices = [DeviceSweep(graph, device) for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else []))]
    for case in cases:
        masks = redrawn(case)
        assert digest(masks) == case["sha256_masks"]
        found = gs.effective_masks(graph.with_masks(dict(zip(graph.shapes, masks, strict=True))))
        assert [int(mask.sum()) for mask in found.values()] == case[resolution], case["family"]
        if resolution == "unrolled":
            assert digest([mask.numpy() for mask in found.values()]) == case["sha256_unrolled"]
        for swept in on_devices:
            given = {name: torch.from_numpy(mask).to(swept.algebra.device) for name, mask in zip(graph.shapes, masks)}
            for name, mask in swept.effective_masks(given).items():
                assert torch.equal(mask.cpu(), found[name]), (name, swept.algebra.device)

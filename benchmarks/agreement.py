"""Random masks of random networks, swept as bits, as elements and many at once: connection for connection the same.

Networks have skips, gates, groups, strides, kernels used twice, joined, repeated and transposed kernels, in both
resolutions. Half of the masks keep random scores above ten thresholds: one sweep of the scores in (max, min) answers for all
ten. The others are drawn one by one, each parameter at a random density; every fifth is also swept in (max, min), as scores
of 0 and 1.
Run: python benchmarks/agreement.py [NETWORKS] [MASKS OF EACH] [SEED]   (1,000 networks x 100 masks: 100,000 masks)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import report
from torch import nn
from torch.nn import functional

import graphsparse as gs
from graphsparse.algebras import MAX_MIN, WORDS
from graphsparse.kernels.bit_sums import across
from graphsparse.sweep import sweep

HERE = Path(__file__).parent
THRESHOLDS = np.linspace(0.05, 0.95, 10).astype(np.float32)  # of scores in [0, 1)


class Drawn(nn.Module):
    """A random network on images of 4 channels: some blocks, each of a random kind, and a head."""

    def __init__(self, rng: np.random.Generator):
        super().__init__()
        self.kinds = rng.choice(
            ["conv", "strided", "grouped", "skip", "twice", "gate", "pool", "joined", "repeated"], rng.integers(1, 5)
        )
        self.width, self.size = 4, int(rng.integers(4, 8))
        self.kernels = nn.ModuleList(self._block(kind, rng) for kind in self.kinds)
        self.mixed = nn.Parameter(torch.randn(4, 6))
        self.head = nn.Linear(6, 3, bias=bool(rng.integers(2)))

    def _block(self, kind: str, rng: np.random.Generator) -> nn.Module:
        bias, kernel = bool(rng.integers(2)), int(rng.choice([1, 3]))
        make: Callable[..., nn.Module] = partial(nn.Conv2d, 4, 4, kernel, padding=kernel // 2, bias=bias)
        if kind == "joined":
            return nn.ModuleList([nn.Conv2d(4, 2, 1, bias=False), nn.Conv2d(4, 2, 1, bias=False)])
        if kind == "repeated":
            return nn.Conv2d(1, 1, 3, bias=False)
        if kind == "gate":
            return nn.ModuleList([make(), make()])
        return make(**{"strided": {"stride": 2}, "grouped": {"groups": 2}}.get(kind, {}))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        block: Any
        for kind, block in zip(self.kinds, self.kernels, strict=True):
            if kind == "skip":
                x = x + torch.relu(block(x))
            elif kind == "twice":
                x = torch.relu(block(torch.relu(block(x))))
            elif kind == "gate":
                x = block[0](x) * torch.sigmoid(block[1](x))
            elif kind == "pool":
                x = functional.max_pool2d(block(x), 2, ceil_mode=True)
            elif kind == "repeated":
                x = functional.conv2d(x, block.weight.expand(4, 1, 3, 3), padding=1, groups=4)
            elif kind == "joined":
                x = functional.conv2d(x, torch.cat([part.weight for part in block]))
            else:
                x = torch.relu(block(x))
        return self.head(x.mean((2, 3)) @ self.mixed)


Masks = dict[str, np.ndarray]


def nested(graph: gs.LayeredGraph, draws: int, rng: np.random.Generator) -> tuple[Masks, dict[int, Masks]]:
    """Masks (draws * thresholds, *shape) that keep random scores above thresholds; and what (max, min) finds active."""
    scores = {name: rng.random((draws, *shape), np.float32) for name, shape in graph.shapes.items()}
    masks = {
        name: np.concatenate([drawn >= THRESHOLDS.reshape(-1, *[1] * drawn.ndim) for drawn in stacked])
        for name, stacked in scores.items()
    }
    active = {}
    for draw in range(draws):
        widest = sweep(graph, {name: drawn[draw] for name, drawn in scores.items()}, MAX_MIN).connections()
        for level, threshold in enumerate(THRESHOLDS):
            active[draw * len(THRESHOLDS) + level] = {name: found >= threshold for name, found in widest.items()}
    return masks, active


def independent(graph: gs.LayeredGraph, count: int, rng: np.random.Generator) -> tuple[Masks, dict[int, Masks]]:
    """Masks (count, *shape), each parameter at a density of its own, some empty or whole; and what (max, min) finds active
    under every fifth."""
    masks, active = {}, {}
    for name, shape in graph.shapes.items():
        densities = rng.uniform(-0.02, 1.08, (count, *[1] * len(shape)))
        masks[name] = rng.random((count, *shape)) < densities
    for k in range(0, count, 5):
        widest = sweep(graph, {name: stacked[k].astype(np.float32) for name, stacked in masks.items()}, MAX_MIN)
        active[k] = {name: found >= 1 for name, found in widest.connections().items()}
    return masks, active


def differences(graph: gs.LayeredGraph, masks: Masks, widest: dict[int, Masks]) -> int:
    """How many masks give other active connections in one way than in another.

    ``masks`` are stacked, (count, *shape); ``widest`` has what (max, min) finds active under some of them, by their number.
    """
    count, wrong = len(next(iter(masks.values()))), 0
    together = gs.sparsity_of(graph, masks)
    at_once = [
        words_swept(graph, {n: m[first : first + 64] for n, m in masks.items()}) for first in range(0, count, 64)
    ]
    for k in range(count):
        found = sweep(graph.with_masks({name: stacked[k] for name, stacked in masks.items()}))
        active = {name: mask.unpack() for name, mask in found.connections().items()}
        words, bit = at_once[k // 64], np.uint64(k % 64)
        same = all(np.array_equal(active[name], words[name] >> bit & np.uint64(1) == 1) for name in active)
        same &= k not in widest or all(np.array_equal(active[name], widest[k][name]) for name in active)
        counts = [int(active[name].sum()) for name in graph.shapes]
        same &= counts == together.active[k].tolist() == list(found.count().values())
        same &= [int(masks[name][k].sum()) for name in graph.shapes] == together.kept[k].tolist()
        wrong += not same
    return wrong


def words_swept(graph: gs.LayeredGraph, masks: Masks) -> Masks:
    """Under which of at most 64 masks each connection is active, by the bits of words."""
    words = {name: across(m.reshape(len(m), -1).view(np.uint8)).reshape(m.shape[1:]) for name, m in masks.items()}
    return sweep(graph, words, WORDS).connections()


def main(networks: int = 1000, masks: int = 100, seed: int = 0) -> None:
    """Print how many networks and masks were tried and how many differ."""
    print(f"seed {seed}")
    rng, draws = np.random.default_rng(seed), masks // 2 // len(THRESHOLDS)
    alone, wrong = masks - draws * len(THRESHOLDS), 0
    for number in range(networks):
        torch.manual_seed(int(rng.integers(2**31)))
        model = Drawn(rng).eval()
        resolution = ("unrolled", "channel")[number % 2]
        graph = gs.export(model, torch.zeros(1, 4, model.size, model.size), {}, resolution=resolution)
        drawn = [independent(graph, alone, rng), *([nested(graph, draws, rng)] if draws else [])]
        found = sum(differences(graph, *each) for each in drawn)
        wrong += found
        if found:
            print(f"network {number}, {resolution}: {found} masks differ", model)
    row = {
        "networks": networks,
        "masks": networks * masks,
        "drawn one by one": networks * alone,
        "masks that differ": wrong,
    }
    report(f"Random masks swept in four ways, seed {seed} (goal: no difference)", [row], HERE / "agreement.json")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

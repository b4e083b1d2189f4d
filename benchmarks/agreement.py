"""Random masks of random networks, swept as bits, as elements and many at once: connection for connection the same.

Networks have skips, gates, groups, strides, kernels used twice, joined and transposed kernels, in both resolutions. Masks
keep random scores above ten thresholds: one sweep of the scores in (max, min) answers for all ten.
Run: python benchmarks/agreement.py [NETWORKS] [DRAWS OF EACH] [SEED]   (1,000 networks x 10 draws: 100,000 masks)
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
            ["conv", "strided", "grouped", "skip", "twice", "gate", "pool", "joined"], rng.integers(1, 5)
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
            elif kind == "joined":
                x = functional.conv2d(x, torch.cat([part.weight for part in block]))
            else:
                x = torch.relu(block(x))
        return self.head(x.mean((2, 3)) @ self.mixed)


def differences(graph: gs.LayeredGraph, scores: dict[str, np.ndarray], thresholds: np.ndarray) -> int:
    """How many masks give other active connections in one way than in another.

    ``scores`` are stacked, (draws, *shape); the masks are those of each draw at each threshold.
    """
    masks = {
        name: np.concatenate([drawn >= thresholds.reshape(-1, *[1] * drawn.ndim) for drawn in stacked])
        for name, stacked in scores.items()
    }
    count, wrong = len(next(iter(masks.values()))), 0
    together = gs.sparsity_of(graph, masks)
    words = {
        n: across(m[:64].reshape(min(64, count), -1).view(np.uint8)).reshape(m.shape[1:]) for n, m in masks.items()
    }
    at_once = sweep(graph, words, WORDS).connections()
    for k in range(count):
        draw, level = divmod(k, len(thresholds))
        if level == 0:
            widest = sweep(graph, {name: drawn[draw] for name, drawn in scores.items()}, MAX_MIN).connections()
        bits = sweep(graph.with_masks({name: stacked[k] for name, stacked in masks.items()})).connections()
        active = {name: mask.unpack() for name, mask in bits.items()}
        same = all(np.array_equal(active[name], widest[name] >= thresholds[level]) for name in bits)
        if k < 64:
            same &= all(np.array_equal(active[n], at_once[n] >> np.uint64(k) & np.uint64(1) == 1) for n in bits)
        same &= [int(active[name].sum()) for name in graph.shapes] == together.active[k].tolist()
        wrong += not same
    return wrong


def main(networks: int = 1000, draws: int = 10, seed: int = 0) -> None:
    """Print how many networks and masks were tried and how many differ."""
    print(f"seed {seed}")
    rng, tried, wrong = np.random.default_rng(seed), 0, 0
    for number in range(networks):
        torch.manual_seed(int(rng.integers(2**31)))
        model = Drawn(rng).eval()
        resolution = ("unrolled", "channel")[number % 2]
        graph = gs.export(model, torch.zeros(1, 4, model.size, model.size), {}, resolution=resolution)
        scores = {name: rng.random((draws, *shape), np.float32) for name, shape in graph.shapes.items()}
        found = differences(graph, scores, THRESHOLDS)
        tried, wrong = tried + draws * len(THRESHOLDS), wrong + found
        if found:
            print(f"network {number}, {resolution}: {found} masks differ", model)
    report(f"Random masks swept in four ways, seed {seed} (goal: no difference)",
           [{"networks": networks, "masks": tried, "masks that differ": wrong}], HERE / "agreement.json")  # fmt: skip
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

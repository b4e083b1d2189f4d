"""Random masks of random networks, swept as bits, as elements and many at once: connection for connection the same.

Networks have skips, gates, groups, strides, kernels used twice, joined and transposed kernels, in both resolutions.
Run: python benchmarks/agreement.py [NETWORKS] [MASKS OF EACH] [SEED]   (1,000 networks x 100 masks: some 20 minutes)
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
from graphsparse.algebras import MAX_MIN, OR_AND, WORDS
from graphsparse.kernels.bit_sums import across
from graphsparse.sweep import sweep

HERE = Path(__file__).parent


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


def differences(graph: gs.LayeredGraph, masks: dict[str, np.ndarray]) -> int:
    """How many masks give other active connections in one way than in another; ``masks`` are stacked, (masks, *shape)."""
    count, wrong = len(next(iter(masks.values()))), 0
    together = gs.sparsity_of(graph, masks)
    words = {
        n: across(m[:64].reshape(min(64, count), -1).view(np.uint8)).reshape(m.shape[1:]) for n, m in masks.items()
    }
    at_once = sweep(graph, words, WORDS).connections()
    for k in range(count):
        masked = graph.with_masks({name: stacked[k] for name, stacked in masks.items()})
        bits = sweep(masked, algebra=OR_AND).connections()
        widest = sweep(masked, algebra=MAX_MIN).connections()
        same = all(np.array_equal(bits[name].unpack(), widest[name] > -np.inf) for name in bits)
        if k < 64:
            same &= all(np.array_equal(bits[n].unpack(), at_once[n] >> np.uint64(k) & np.uint64(1) == 1) for n in bits)
        same &= [bits[name].count() for name in graph.shapes] == together.active[k].tolist()
        wrong += not same
    return wrong


def main(networks: int = 1000, masks_of_each: int = 100, seed: int = 0) -> None:
    """Print how many networks and masks were tried and how many differ."""
    print(f"seed {seed}")
    rng, tried, wrong = np.random.default_rng(seed), 0, 0
    for number in range(networks):
        torch.manual_seed(int(rng.integers(2**31)))
        model = Drawn(rng).eval()
        resolution = ("unrolled", "channel")[number % 2]
        graph = gs.export(model, torch.zeros(1, 4, model.size, model.size), {}, resolution=resolution)
        density = rng.choice([0.15, 0.4, 0.8])
        masks = {name: rng.random((masks_of_each, *shape)) < density for name, shape in graph.shapes.items()}
        found = differences(graph, masks)
        tried, wrong = tried + masks_of_each, wrong + found
        if found:
            print(f"network {number}, {resolution}: {found} masks differ", model)
    report(f"Random masks swept in four ways, seed {seed} (goal: no difference)",
           [{"networks": networks, "masks": tried, "masks that differ": wrong}], HERE / "agreement.json")  # fmt: skip
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

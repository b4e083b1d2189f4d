"""Small graphs with skips, products, shared kernels and convolutions, and every path of them, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import networkx
import numpy as np
import torch
from torch import nn

import graphsparse as gs
from graphsparse.blocks import Gate, KernelBlock
from graphsparse.sweep import sweep


class Skipping(nn.Module):
    """A skip around two layers, without shared kernels or products."""

    def __init__(self):
        super().__init__()
        self.first, self.one, self.two = nn.Linear(3, 4, bias=False), nn.Linear(4, 3, bias=False), nn.Linear(3, 4)
        self.last = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(self.two(torch.relu(self.one(x))) + x)


class Shared(nn.Module):
    """A kernel used twice with a skip, and on demand a product whose one side may be held up by a constant alone."""

    def __init__(self, gated: bool):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(3, 4, bias=False), nn.Linear(4, 4), nn.Linear(4, 2, bias=False)
        self.gated = gated

    def forward(self, x):
        x = torch.relu(self.first(x))
        y = self.shared(torch.relu(self.shared(x))) + x
        return self.last(y * torch.relu(self.shared(x)) if self.gated else y)


class Convolved(nn.Module):
    """Two convolutions with padding and stride, pooling, and a fully connected head."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.Conv2d(2, 2, 2, stride=2, bias=False)
        self.head = nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.head(torch.relu(self.two(torch.relu(self.one(x)))).amax((2, 3)))


DENSITIES = 0.25, 0.4, 0.6, 0.85


def graphs(gated: bool = True, shared: bool = True) -> Iterator[gs.LayeredGraph]:
    """Small graphs under random masks of biases too, some of which leave nothing."""
    kinds = ["skipping", "convolved", *(["shared"] if shared else []), *(["gated"] if gated else [])]
    for seed, resolution in product(range(2 * len(DENSITIES)), ("unrolled", "channel")):
        generator = torch.Generator().manual_seed(seed)
        for kind in kinds:
            graph = _captured(kind, resolution)
            every = {**graph.shapes, **{name: array.shape for name, array in graph.modulators.items()}}
            masks = {name: torch.rand(tuple(s), generator=generator) < DENSITIES[seed % 4] for name, s in every.items()}
            yield graph.with_masks(masks)


@lru_cache
def _captured(kind: str, resolution: str) -> gs.LayeredGraph:
    if kind == "convolved":
        return gs.export(Convolved(), torch.zeros(1, 1, 4, 4), {}, resolution=resolution)
    model = Skipping() if kind == "skipping" else Shared(kind == "gated")
    return gs.export(model, torch.zeros(1, 3), {}, resolution=resolution)


Step = tuple[int, int, str, int]
"""Source, target, parameter ("" for a wire or a product) and its entry."""


def steps(graph: gs.LayeredGraph, dropped: bool = False) -> list[Step]:
    """Every kept way from one unit to another, or the dropped ones too; a product where the other operand is not zero."""
    nonzero = sweep(graph, states=True).nonzero
    whole = graph.with_masks({}) if dropped else graph
    found: list[Step] = []
    for layer in whole.layers:
        for block in layer.blocks:
            if isinstance(block, Gate):
                for a, b, t in zip(block.lefts.tolist(), block.rights.tolist(), block.targets.tolist(), strict=True):
                    there = lambda unit: unit == -2 or unit >= 0 and bool(nonzero[unit])
                    found += [(u, t, "", 0) for u, other in ((a, b), (b, a)) if u >= 0 and there(other)]
                continue
            sources, targets, entries = block.pairs(whole.kept)
            name = block.parameter if isinstance(block, KernelBlock) else ""
            entries = np.zeros(len(sources), int) if entries is None else entries
            found += zip(sources.tolist(), targets.tolist(), [name] * len(sources), entries.tolist(), strict=True)
    return found


def paths(graph: gs.LayeredGraph, without: set | frozenset = frozenset()) -> Iterator[list[Step]]:
    """Every path from a source to a sink along kept steps, without those over some units or (source, target) pairs."""
    leaving: dict[int, list[Step]] = {}
    for step in steps(graph):
        if not {step[0], step[1], step[:2]} & without:
            leaving.setdefault(step[0], []).append(step)
    sinks = set(graph.sinks.tolist()) - without

    def onwards(unit: int, path: list[Step]) -> Iterator[list[Step]]:
        if unit in sinks:
            yield path
        for step in leaving.get(unit, []):
            yield from onwards(step[1], [*path, step])

    for source in set(graph.sources.tolist()) - without:
        yield from onwards(source, [])


def edges_on_paths(graph: gs.LayeredGraph, without: set | frozenset = frozenset()) -> set[tuple[int, int]]:
    """The pairs of units that some source-sink path joins."""
    return {step[:2] for path in paths(graph, without) for step in path}


def with_ends(graph: gs.LayeredGraph, edges: set[tuple[int, int]]) -> networkx.DiGraph:
    """The edges with a node "root" before every source on them and a node "end" behind every sink on them."""
    drawn = networkx.DiGraph(list(edges))
    nodes = set(drawn)
    drawn.add_edges_from(("root", unit) for unit in set(graph.sources.tolist()) & nodes)
    drawn.add_edges_from((unit, "end") for unit in set(graph.sinks.tolist()) & nodes)
    return drawn

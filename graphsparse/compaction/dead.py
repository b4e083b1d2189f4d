"""Which bundles are dead: no unit of them is moved by an input and seen by an output, at any position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphsparse.blocks import KernelBlock
from graphsparse.capture import Network, export
from graphsparse.compaction.bundles import Bundles
from graphsparse.graph import LayeredGraph
from graphsparse.sweep import sweep


@dataclass(frozen=True, eq=False)
class Life:
    """What the exact graph says of bundles, and of the rows of each kernel.

    ``alive`` and ``constant`` (bundles,): some unit is alive; some unit is a constant that is not zero and that an output
    sees. For each kernel of `Bundles.kernels`, (groups, rows): ``live`` rows are alive, ``seen`` rows reach an output,
    ``filled`` rows are not zero.
    """

    alive: np.ndarray
    constant: np.ndarray
    live: tuple[np.ndarray, ...]
    seen: tuple[np.ndarray, ...]
    filled: tuple[np.ndarray, ...]


def life_of(network: Network, bundles: Bundles, resolution: str) -> Life:
    """Sweep the network's graph under the zeros of its weights, statistics included, and read the bundles' lives off it."""
    graph = export(network, resolution=resolution, norm_statistics=True)
    blocks = _kernels(graph)
    if not _correspond(blocks, bundles.kernels):  # steps of a recurrence, which channel resolution takes together
        graph = export(network, resolution="channel", norm_statistics=True)
        blocks = _kernels(graph)
    found = sweep(graph, states=True)
    signal, nonzero, reaches = (np.append(each.astype(bool), [False, False]) for each in (
        found.signal, found.nonzero, found.reaches,
    ))  # fmt: skip
    alive, constant = np.zeros(bundles.count, bool), np.zeros(bundles.count, bool)
    live, seen, filled = [], [], []
    for block, twin in zip(blocks, bundles.kernels, strict=True):
        rows = bundles.of[twin.targets].max(2)
        units = block.targets
        live.append((signal & reaches)[units].any(2))
        alive[rows[live[-1]]] = True
        constant[rows[(nonzero & ~signal & reaches)[units].any(2)]] = True
        seen.append(reaches[units].any(2))
        filled.append(nonzero[units].any(2))
    return Life(alive, constant, tuple(live), tuple(seen), tuple(filled))


def _kernels(graph: LayeredGraph) -> list[KernelBlock]:
    return [block for layer in graph.layers for block in layer.blocks if isinstance(block, KernelBlock)]


def _correspond(blocks: list[KernelBlock], others: tuple[KernelBlock, ...]) -> bool:
    """Whether two readings of one program found the same kernels in the same order."""
    return [(b.parameter, b.targets.shape[:2]) for b in blocks] == [(b.parameter, b.targets.shape[:2]) for b in others]

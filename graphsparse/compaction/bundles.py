"""Bundles: the units of a network that can only leave together, since something ties them; and which of them are dead.

The program is read once more in channel resolution, statistics included. Whatever is added, multiplied, normalised,
compared or joined element by element is wired in that reading, so what hangs together by wires and products is one
bundle: a residual stream, a head of attention, a gate and what it gates. Only a kernel separates its rows from its columns.

A bundle is dead where no unit of it is moved by an input and seen by an output, at any position. The exact graph says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import csgraph

from graphsparse.blocks import Gate, KernelBlock, Lift, Scale, Wiring
from graphsparse.capture import Network, export
from graphsparse.capture.call import Call
from graphsparse.capture.draft import Draft, as_ids
from graphsparse.capture.inputs import inputs_of
from graphsparse.capture.lower import Lowering, lower
from graphsparse.capture.nodes import operation_name
from graphsparse.capture.rules import RULES
from graphsparse.capture.rules.linear import bilinear
from graphsparse.capture.table import Rule, with_extra
from graphsparse.capture.units import NOTHING
from graphsparse.capture.values import Units, Value, Weight
from graphsparse.capture.walk import Walk
from graphsparse.graph import LayeredGraph
from graphsparse.sweep import sweep

IMAGES = "pixel_shuffle"


@dataclass(frozen=True, eq=False)
class Bundles:
    """What hangs together.

    ``of`` gives each unit its bundle; its last two places, for the ids of no unit and of a constant, hold -1. ``fixed``
    (bundles,): whether a bundle is of an input or output, whose width the caller knows. ``kernels`` are in program order.
    """

    of: np.ndarray
    fixed: np.ndarray
    kernels: tuple[KernelBlock, ...]
    stages: tuple[Lift | Scale, ...]
    walk: Walk

    @property
    def count(self) -> int:
        """How many bundles there are."""
        return len(self.fixed)


def read_bundles(network: Network) -> Bundles:
    """The bundles of a network's units."""
    parameters = network.parameters
    program, _ = network.captured(())
    inputs = inputs_of(program, network.samples_axis, None)
    table = with_extra({**RULES, torch.ops.aten.bilinear.default: Rule(_sides_apart)}, network.extra_rules)

    def start() -> Lowering:
        return Lowering(Draft("channel", True), parameters.canonical, inputs)

    walk, lowering = lower(program, table, start, parameters.model_name)
    draft = lowering.draft
    pairs = [pair for layer in draft.layers for block in layer.blocks for pair in _tied(block)]
    pairs += [_of_one_image(walk.values[node].ids) for node in walk.values if operation_name(node.target) == IMAGES]
    of = np.append(connected(draft.count, pairs), [-1, -1])
    fixed = np.zeros(of.max() + 1, bool)
    for ids in [*map(as_ids, draft.sources), *(as_ids(ids.reshape(-1)) for ids in lowering.sinks)]:
        found = of[ids]
        fixed[found[found >= 0]] = True
    blocks = [block for layer in draft.layers for block in layer.blocks]
    stages = [stage for layer in draft.layers for stage in layer.stages if stage.parameter is not None]
    kernels = tuple(block for block in blocks if isinstance(block, KernelBlock))
    return Bundles(of, fixed, kernels, tuple(stages), walk)


def _sides_apart(call: Call, left: Value, right: Value, weight: Weight, *bias: Any) -> Any:
    """The rule of a bilinear layer that ties no inputs: it multiplies them, but each side has an axis of the parameter."""
    one, two = (Units(torch.full(tuple(side.shape), NOTHING, dtype=torch.int32)) for side in (left, right))
    return bilinear(call, one, two, weight, *bias)


def _of_one_image(ids: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of units of one channel: an operation makes a fixed number of channels into one image."""
    whole = as_ids(ids.flatten(-2))
    return np.broadcast_to(whole[..., :1], whole.shape).ravel(), whole.ravel()


def connected(count: int, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The group of each of so many things, (count,): groups are numbered from 0 on, in the order of their first things.

    ``pairs`` are two arrays each, whose entries are tied one by one; an entry below 0 is nothing.
    """
    left = np.concatenate([np.empty(0, np.int64), *(one for one, _ in pairs)])
    right = np.concatenate([np.empty(0, np.int64), *(two for _, two in pairs)])
    real = (left >= 0) & (right >= 0)
    ties = sparse.coo_array((np.ones(real.sum(), bool), (left[real], right[real])), (count, count))
    return csgraph.connected_components(ties, directed=False)[1].astype(np.int64)


def _tied(block: KernelBlock | Wiring | Gate) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of units that a block ties. A kernel ties the positions of one row, and those of one column, but no more."""
    if isinstance(block, Wiring):
        yield block.sources, block.targets
    elif isinstance(block, Gate):
        yield from ((block.lefts, block.targets), (block.rights, block.targets), (block.lefts, block.rights))
    else:
        for ids in (block.targets, block.sources):
            if ids.shape[2] > 1:
                yield np.broadcast_to(ids[..., :1], ids[..., 1:].shape).ravel(), ids[..., 1:].ravel()


@dataclass(frozen=True, eq=False)
class Life:
    """What the exact graph says of bundles, and of the rows of each kernel.

    ``alive`` and ``constant`` (bundles,): some unit is alive; some unit is a constant that is not zero and that an output
    sees. The others have an array (groups, rows) for each kernel of `Bundles.kernels`: ``live`` rows are alive, ``seen``
    rows reach an output, ``filled`` rows are not zero.
    """

    alive: np.ndarray
    constant: np.ndarray
    live: tuple[np.ndarray, ...]
    seen: tuple[np.ndarray, ...]
    filled: tuple[np.ndarray, ...]


def life_of(network: Network, bundles: Bundles, resolution: str) -> Life:
    """Find which bundles live, by one sweep of the exact graph. Its masks are the zeros of the weights and statistics."""
    graph = export(network, resolution=resolution, norm_statistics=True)
    blocks = _kernels(graph)
    if not _same(blocks, bundles.kernels):  # steps of a recurrence, which channel resolution takes together
        graph = export(network, resolution="channel", norm_statistics=True)
        blocks = _kernels(graph)
    found = sweep(graph, states=True)
    signal, nonzero, reaches = (np.append(each.astype(bool), [False, False]) for each in (
        found.signal, found.nonzero, found.reaches,
    ))  # fmt: skip
    held = nonzero & ~signal & reaches
    alive, constant = np.zeros(bundles.count, bool), np.zeros(bundles.count, bool)
    live, seen, filled = [], [], []
    for block, twin in zip(blocks, bundles.kernels, strict=True):
        rows = bundles.of[twin.targets].max(2)
        units = block.targets
        live.append((signal & reaches)[units].any(2))
        alive[rows[live[-1]]] = True
        constant[rows[held[units].any(2)]] = True
        columns, given = bundles.of[twin.sources].max(2), block.sources
        joined = (given == -2).any(2) & reaches[given].any(2)  # a parameter's entry among units, as of a class token
        constant[columns[(held[given].any(2) | joined) & (columns >= 0)]] = True
        seen.append(reaches[units].any(2))
        filled.append(nonzero[units].any(2))
    return Life(alive, constant, tuple(live), tuple(seen), tuple(filled))


def _kernels(graph: LayeredGraph) -> list[KernelBlock]:
    return [block for layer in graph.layers for block in layer.blocks if isinstance(block, KernelBlock)]


def _same(*readings: Sequence[KernelBlock]) -> bool:
    """Whether two readings of one program found the same kernels in the same order."""
    one, other = ([(block.parameter, block.targets.shape[:2]) for block in blocks] for blocks in readings)
    return one == other

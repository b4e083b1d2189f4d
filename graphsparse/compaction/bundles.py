"""Bundles: the units of a network that can only leave together, since something ties them.

The program is read once more in channel resolution, statistics included. Whatever is added, multiplied, normalised,
compared or joined element by element is wired in that reading, so what hangs together by wires and products is one
bundle: a residual stream, a head of attention, a gate and what it gates. Only a kernel separates its rows from its columns.
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
from graphsparse.capture import Network
from graphsparse.capture.call import Call
from graphsparse.capture.draft import Draft, as_ids
from graphsparse.capture.inputs import inputs_of
from graphsparse.capture.lower import Lowering, require_sinks
from graphsparse.capture.rules import RULES
from graphsparse.capture.rules.linear import bilinear
from graphsparse.capture.table import Rule, with_extra
from graphsparse.capture.units import NOTHING
from graphsparse.capture.values import Units, Value, Weight
from graphsparse.capture.walk import Walk, read


@dataclass(frozen=True, eq=False)
class Bundles:
    """What hangs together.

    ``of`` gives each unit its bundle; its last two places, which the ids of no unit and of a constant find, hold -1.
    ``fixed`` (bundles,) are those of inputs and outputs, whose widths the caller knows. ``kernels`` are in program order.
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
    inputs = inputs_of(program, network.batch_axis, None)
    table = with_extra({**RULES, torch.ops.aten.bilinear.default: Rule(_sides_apart)}, network.extra_rules)
    walk, lowering = read(program, table, lambda _: Lowering(Draft("channel", True), parameters.canonical, inputs))
    lowering.sinks += [value.ids for value in walk.outputs() if isinstance(value, Units)]
    require_sinks(lowering, parameters.model_name)
    draft = lowering.draft
    pairs = [pair for layer in draft.layers for block in layer.blocks for pair in _tied(block)]
    of = np.append(connected(draft.mark - 1, pairs), [-1, -1])
    fixed = np.zeros(of.max() + 1, bool)
    for ids in [*map(as_ids, draft.sources), *(as_ids(ids.reshape(-1)) for ids in lowering.sinks)]:
        found = of[ids]
        fixed[found[found >= 0]] = True
    blocks = [block for layer in draft.layers for block in layer.blocks]
    stages = [stage for layer in draft.layers for stage in layer.stages if stage.parameter is not None]
    kernels = tuple(block for block in blocks if isinstance(block, KernelBlock))
    return Bundles(of, fixed, kernels, tuple(stages), walk)


def _sides_apart(call: Call, left: Value, right: Value, weight: Weight, *bias: Any) -> Any:
    """A bilinear layer that ties no inputs, though it multiplies them: each side has an axis of the parameter to itself."""
    one, two = (Units(torch.full(tuple(side.shape), NOTHING, dtype=torch.int32)) for side in (left, right))
    return bilinear(call, one, two, weight, *bias)


def connected(count: int, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What hangs together of so many things, (count,): a number from 0 on, in the order in which they first occur.

    ``pairs`` are two arrays each, whose entries are tied one by one; an entry below 0 is nothing.
    """
    left = np.concatenate([np.empty(0, np.int64), *(one for one, _ in pairs)])
    right = np.concatenate([np.empty(0, np.int64), *(two for _, two in pairs)])
    real = (left >= 0) & (right >= 0)
    ties = sparse.coo_array((np.ones(real.sum(), bool), (left[real], right[real])), (count, count))
    return csgraph.connected_components(ties, directed=False)[1].astype(np.int64)


def _tied(block: KernelBlock | Wiring | Gate) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of units that a block ties: all but what a kernel reads and what it feeds."""
    if isinstance(block, Wiring):
        yield block.sources, block.targets
    elif isinstance(block, Gate):
        yield from ((block.lefts, block.targets), (block.rights, block.targets), (block.lefts, block.rights))
    else:  # the positions of one row, and those of one column
        for ids in (block.targets, block.sources):
            if ids.shape[2] > 1:
                yield np.broadcast_to(ids[..., :1], ids[..., 1:].shape).ravel(), ids[..., 1:].ravel()

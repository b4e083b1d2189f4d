"""Whether modules or stacked kernels are the experts of a mixture, by the way that their results take through the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graphsparse.blocks import Block, Gate, KernelBlock, Wiring
from graphsparse.graph import LayeredGraph
from graphsparse.layers import Layer, feeding

Places = Mapping[str, slice]
"""The kernels of an expert: by parameter the part of its first axis that is the expert's."""


SEVERAL = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class Mixture:
    """What may be a mixture: its experts, and the module of each if they are modules."""

    experts: tuple[Places, ...]
    modules: tuple[str, ...] = ()

    @cached_property
    def owners(self) -> dict[str, int]:
        """The number of the expert of each parameter that only one expert reads."""
        return {name: n for n, expert in enumerate(self.experts) for name in expert} if self.modules else {}

    @cached_property
    def names(self) -> frozenset[str]:
        """The parameters of all experts."""
        return frozenset(name for expert in self.experts for name in expert)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {module: n for n, module in enumerate(self.modules)}

    def inside(self, layer: Layer) -> int:
        """The number of the expert in whose module a layer is made; -1 if in none."""
        depth = self.modules[0].count(".") + 1 if self.modules else 0
        return self._numbers.get(".".join(layer.module.split(".")[:depth]), -1)


class Routes:
    """Follows the experts of one mixture after the other through a graph.

    ``within``: the number of the one expert that made a unit, -1 if there is none, `SEVERAL` for a sum of some. ``after``:
    that of the one expert whose result, multiplied by an activation of no expert, made it.
    """

    def __init__(self, graph: LayeredGraph):
        self.graph, n = graph, graph.n_units + 2
        self.feeders = [{i for block in layer.blocks for i in feeding(block, graph.owner)} for layer in graph.layers]
        self.within, self.after, self.product = np.full(n, -1), np.full(n, -1), np.zeros(n, bool)
        for layer in graph.layers:
            self.product[layer.start : layer.stop] = any(isinstance(block, Gate) for block in layer.blocks)

    def lead_to_a_sum(self, mixture: Mixture) -> bool:
        """Whether no expert feeds another, and a router's products of their results, or of their inputs, are added."""
        self.entries: dict[int, set[int]] = {}  # of each expert the first of the units that it reads, block by block
        marked, found = set[int](), None
        for index, layer in enumerate(self.graph.layers):
            kernels = (block.parameter for block in layer.blocks if isinstance(block, KernelBlock))
            own = mixture.inside(layer) >= 0 or not mixture.names.isdisjoint(kernels)
            if own or self.feeders[index] & marked:
                marked.add(index)
                found = self._pass(mixture, layer)
            if found is not None:
                break
        for layer in (self.graph.layers[index] for index in marked):
            self.within[layer.start : layer.stop] = self.after[layer.start : layer.stop] = -1
        return bool(found)

    def _pass(self, mixture: Mixture, layer: Layer) -> bool | None:
        """Mark the units of a layer. True where experts are added, False where one feeds another, else None."""
        expert = mixture.inside(layer)
        for block in layer.blocks:
            owner = max(expert, mixture.owners.get(block.parameter, -1)) if isinstance(block, KernelBlock) else expert
            if owner >= 0 and self._foreign(block.sources, owner):
                return False
            if owner >= 0:
                self._enter(block.sources, owner)
            if isinstance(block, KernelBlock):
                if not self._kernel(mixture, block, owner):
                    return False
            elif expert < 0 and self._added(layer, block):
                return True
        if expert >= 0:
            self.within[layer.start : layer.stop] = expert
        return None

    def _foreign(self, ids: np.ndarray, owner: int | np.ndarray) -> bool:
        """Whether some units are made of another expert than their owner."""
        here = self.within[ids]
        return bool(((here >= 0) & (here != owner) | (self.after[ids] >= 0)).any())

    def _enter(self, ids: np.ndarray, owner: int) -> None:
        """Note what an expert reads of others: -1 where that is no product."""
        ids = ids[(ids >= 0) & (self.within[ids] < 0)]
        if ids.size:
            self.entries.setdefault(owner, set()).add(int(ids.min()) if self.product[ids].all() else -1)

    @property
    def _routed_before(self) -> bool:
        """Whether each expert reads products, which no other one reads."""
        units = [unit for found in self.entries.values() for unit in found]
        return bool(units) and -1 not in units and len(units) == len(set(units))

    def _kernel(self, mixture: Mixture, block: KernelBlock, owner: int) -> bool:
        """Mark what an expert's kernel makes; whether none of stacked kernels reads what another one makes."""
        numbers: int | np.ndarray = owner
        if not mixture.modules and block.parameter in mixture.names:
            numbers = np.arange(len(block.sources))[:, None, None]
            if self._foreign(block.sources, numbers):
                return False
            for number, ids in enumerate(block.sources):
                self._enter(ids, number)
        self.within[block.targets] = np.maximum(self.within[block.targets], numbers)
        self.within[-2:] = -1  # what is no unit
        return True

    def _added(self, layer: Layer, block: Block) -> bool:
        """Mark what wires or products make of experts; whether they add the routed results of several."""
        if isinstance(block, Wiring):
            inside, routed, targets = self.within[block.sources], self.after[block.sources], block.targets
            if self._routed_before:
                routed = np.maximum(routed, inside)
        else:
            assert isinstance(block, Gate)
            left, right = (np.maximum(self.within[ids], self.after[ids]) for ids in (block.lefts, block.rights))
            inside, targets = np.where(left == right, left, -1), block.targets
            routed = np.where((left < 0) != (right < 0), np.maximum(left, right), -1)
            if (routed == SEVERAL).any():
                return True
        at, there = targets - layer.start, routed >= 0
        least, most = _least_and_most(routed[there], at[there], len(layer))
        if (least < most).any():
            return True
        self.after[layer.start : layer.stop] = np.maximum(most, self.after[layer.start : layer.stop])
        low, high = _least_and_most(inside, at, len(layer))
        several = (low >= 0) & (low < high) if isinstance(block, Wiring) else np.zeros(len(layer), bool)
        one = np.where(low == high, high, self.within[layer.start : layer.stop])
        self.within[layer.start : layer.stop] = np.where(several, SEVERAL, one)
        return False


def _least_and_most(labels: np.ndarray, targets: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest label of each target; where it has none, `SEVERAL` and -1."""
    least, most = np.full(count, SEVERAL), np.full(count, -1)
    np.minimum.at(least, targets, labels)
    np.maximum.at(most, targets, labels)
    return least, most

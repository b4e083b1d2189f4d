"""Experts of mixtures that are wholly dead: stacked along the first axis of a parameter, or modules of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graphsparse.blocks import Block, Gate, KernelBlock, View, Wiring
from graphsparse.graph import LayeredGraph
from graphsparse.layers import Layer, feeding
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric

NO_EXPERTS = (
    "no experts are found: no numbered modules, and no stacked kernels, whose results are multiplied by a router's"
)
GROUPED_PRODUCTS = "grouped_mm"
SEVERAL = np.iinfo(np.int64).max
Places = Mapping[str, slice]
"""The kernels of an expert: by parameter the part of its first axis that is the expert's."""


@metric("liveness", "experts")
def experts(part: Part) -> Found:
    """Experts of mixtures: in all, and by parameter how many have kernels in it; the same for both parts.

    Experts are numbered modules with kernels of the same shapes, or kernels stacked along the first axis of a parameter.
    They do not feed each other. Their results are each multiplied by an activation of the router's, then added; or their
    inputs are multiplied, or a grouped product chooses the kernel. Cost: a pass over the units.
    """
    return _experts(part, every=True)


@metric("liveness", "experts", of="experts")
def dead_experts(part: Part) -> Found:
    """Experts without any connection of the part; by parameter those without one in it. Cost: a pass over their masks."""
    return _experts(part, every=False)


def _experts(part: Part, every: bool) -> Found:
    found = part.swept.once(_experts_of)
    if not found:
        return Found(np.nan, None, None, NO_EXPERTS)
    masks = {name: part.masks[name].unpack() for name in {name for expert in found for name in expert}}
    values = {name: np.nan if name not in masks else 0.0 for name in part.graph.shapes}
    for name, place in ((name, place) for expert in found for name, place in expert.items()):
        values[name] += every or not masks[name][place].any()
    live = [any(masks[name][place].any() for name, place in expert.items()) for expert in found]
    return Found(float(len(found) if every else live.count(False)), None, values, NO_EXPERTS)


def _experts_of(swept: Swept) -> list[Places]:
    """The experts of all mixtures."""
    graph = swept.graph
    grouped = [layer for layer in graph.layers if GROUPED_PRODUCTS in layer.operation]
    if not graph.gated:
        return []
    mixtures = [*_numbered(graph), *_stacked(graph, [layer for layer in graph.layers if layer not in grouped])]
    routes = Routes(graph)
    chosen = [*(each for each in mixtures if routes.lead_to_a_sum(each)), *_stacked(graph, grouped)]
    return [expert for mixture in chosen for expert in mixture.experts]


def _numbered(graph: LayeredGraph) -> Iterator[Mixture]:
    """Modules that differ by one number in their paths, and have kernels of the same names and shapes."""
    found: dict[tuple[str, str], dict[str, tuple[int, ...]]] = defaultdict(dict)
    for name, shape in graph.shapes.items():
        path = name.split(".")
        for n in (n for n, each in enumerate(path[:-1]) if each.isdigit()):
            found[".".join(path[:n]), path[n]][".".join(path[n + 1 :])] = shape
    alike: dict[tuple[str, frozenset[tuple[str, tuple[int, ...]]]], list[str]] = defaultdict(list)
    for (before, number), kernels in found.items():
        alike[before, frozenset(kernels.items())].append(".".join(filter(None, (before, number))))
    for (_, same), modules in alike.items():
        if len(modules) > 1:
            whole = ({f"{module}.{rest}": slice(None) for rest, _ in same} for module in modules)
            yield Mixture(tuple(whole), tuple(modules))


def _stacked(graph: LayeredGraph, layers: list[Layer]) -> Iterator[Mixture]:
    """Kernels stacked along the first axis of parameters, those of one module together."""
    found: dict[tuple[str, int], dict[str, None]] = defaultdict(dict)
    for layer in layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock) and _stacks(graph, block):
                found[layer.module, graph.shapes[block.parameter][0]][block.parameter] = None
    for (_, count), names in found.items():
        yield Mixture(tuple(dict.fromkeys(names, slice(n, n + 1)) for n in range(count)))


def _stacks(graph: LayeredGraph, block: KernelBlock) -> bool:
    """Whether each group of a kernel is a matrix of its own along the first axis of its parameter."""
    shape = graph.shapes[block.parameter]
    if not isinstance(block.view, View) or len(shape) != 3:
        return False
    return block.view.shape[0] == shape[0] > 1 and block.view.strides[0] == shape[1] * shape[2]


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

    ``within`` is the number of the one expert that made a unit, -1 if none did, `SEVERAL` for a sum over experts. ``after``
    is the number of the one expert whose result, multiplied by an activation of no expert, made it.
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

"""Heads of attention that are wholly dead."""

from __future__ import annotations

import numpy as np

from graphsparse.blocks import Block, Gate, KernelBlock, Wiring
from graphsparse.graph import LayeredGraph
from graphsparse.layers import feeding
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric

NO_ATTENTION = "no attention is found: no product of matrices of activations is itself multiplied by such a matrix"
_NONE = np.iinfo(np.int64).max


@metric("liveness", "heads", shared=True)
def heads(part: Part) -> Found:
    """Heads of attention, by the layer that their last product makes; the same for both parts.

    Attention is a product of two matrices of activations, one of them made of another such product without a kernel on the
    way: with a softmax between them, with another function, or with none (linear attention, retention). Sums that are
    written out element by element are not found. Heads are the leading axes of the product that do not only hold positions:
    what comes from the same rows of kernels is one head. Each head of grouped queries counts. Products in one module that
    read the same kernels, such as the steps of a loop, are one attention. A normalisation whose statistics span heads
    joins them. Cost: a pass over the units and wires.
    """
    return _heads(part, every=True)


@metric("liveness", "heads", of="heads", shared=True)
def dead_heads(part: Part) -> Found:
    """Heads of which no unit, at any position, lies on a source-sink path; the same for both parts. Cost: as `heads`."""
    return _heads(part, every=False)


def _heads(part: Part, every: bool) -> Found:
    found, live = part.swept.once(_heads_of), part.swept.live
    counts = np.zeros(len(part.graph.layers))
    for index, units, numbers in found:
        counts[index] = len(np.unique(numbers)) - (0 if every else len(np.unique(numbers[live[units]])))
    return Found(float(counts.sum()) if found else np.nan, counts if found else counts * np.nan, None, NO_ATTENTION)


def _heads_of(swept: Swept) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """For each attention the index of its last layer, its units, and the number of the head of each unit."""
    graph, found = swept.graph, []
    groups = _attentions(graph)
    labels = _labels(graph) if groups else np.empty(0)
    for group in groups:
        units, numbers = zip(*(_numbered(graph, index, labels) for index in group), strict=True)
        found.append((group[-1], np.concatenate(units), np.concatenate(numbers)))
    return found


def _attentions(graph: LayeredGraph) -> list[list[int]]:
    """The indices of the layers that each attention makes: products of matrices that are made of such products."""
    made_of: list[set[int]] = []  # of each layer the products of matrices that lead to it without a kernel on the way
    kernels: list[set[str]] = []  # and the parameters of the kernels before those
    for layer in graph.layers:
        fixed = [b for b in layer.blocks if not isinstance(b, KernelBlock)]
        feeders = {index for block in fixed for index in feeding(block, graph.owner)}
        products = {index for index in feeders if graph.layers[index].matrices is not None}
        made_of.append(products.union(*(made_of[index] for index in feeders)))
        own = {block.parameter for block in layer.blocks if isinstance(block, KernelBlock)}
        kernels.append(own.union(*(kernels[index] for index in feeders)))
    chained = [i for i, layer in enumerate(graph.layers) if layer.matrices is not None and made_of[i]]
    module = lambda index: graph.layers[index].module
    inner = {j for i in chained for j in made_of[i] if module(j) == module(i)}
    groups: list[list[int]] = []
    for index in (i for i in chained if i not in inner):
        same = [g for g in groups if module(g[0]) == module(index) and any(kernels[j] & kernels[index] for j in g)]
        groups = [g for g in groups if g not in same] + [[*(j for g in same for j in g), index]]
    return groups


def _numbered(graph: LayeredGraph, index: int, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The units of a product of matrices, and the number of the head of each: matrices of the same labels are one head."""
    layer = graph.layers[index]
    assert layer.matrices is not None
    matrices, which = np.unique(layer.matrices, return_inverse=True)
    gates = [block for block in layer.blocks if isinstance(block, Gate)]
    least = np.min([_least(gate, labels, which[gate.targets - layer.start], len(matrices)) for gate in gates], 0)
    _, first, head = np.unique(least, axis=0, return_index=True, return_inverse=True)
    in_order = np.argsort(np.argsort(first))  # the heads of another step have the same numbers, whatever their labels
    return np.arange(layer.start, layer.stop), in_order[head.reshape(-1)][which]


def _labels(graph: LayeredGraph) -> np.ndarray:
    """The label of each unit, the least unit that it is made of; all positions of a row of a kernel have one label."""
    labels = np.full(graph.n_units, _NONE)
    for layer in graph.layers:
        if not layer.blocks:
            labels[layer.start : layer.stop] = layer.start
        for block in layer.blocks:
            _label(block, labels)
    return labels


def _label(block: Block, labels: np.ndarray) -> None:
    """Label the targets of a block: with its least label, or with the least unit of a row of a kernel."""
    targets = block.targets
    if isinstance(block, KernelBlock):
        rows, there = np.where(targets < 0, _NONE, targets.astype(np.int64)), targets >= 0
        np.minimum.at(labels, targets[there], np.broadcast_to(rows.min(2, keepdims=True), there.shape)[there])
    elif isinstance(block, Wiring):
        sources, targets, _ = block.pairs({})
        np.minimum.at(labels, targets, labels[sources])
    else:
        units, pairs = np.unique(targets), _least(block, labels, targets, len(labels))
        _, first, same = np.unique(pairs[units], axis=0, return_index=True, return_inverse=True)
        labels[units] = units[first][same.reshape(-1)]


def _least(gate: Gate, labels: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
    """The least labels of the left and of the right operands of the products at each place, (count, 2)."""
    least = np.full((count, 2), _NONE)
    for side, operands in enumerate((gate.lefts, gate.rights)):
        real = operands >= 0
        np.minimum.at(least[:, side], places[real], labels[operands[real]])
    return least

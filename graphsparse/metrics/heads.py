"""Heads of attention and experts that are wholly dead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphsparse.blocks import Block, Gate, KernelBlock, Lift, Wiring
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, fraction, metric

NO_ATTENTION = "no attention is found: nothing is multiplied by a softmax of products of activations"
NO_EXPERTS = "no parameter stacks experts; experts that are modules of their own are not told apart"
GROUPED_PRODUCTS = "grouped_mm"
_NONE = np.iinfo(np.int64).max


@metric("liveness", "heads")
def heads(part: Part) -> Found:
    """Heads of attention, by the layer that their product with the values makes; the same for both parts.

    Attention is a product of activations one operand of which, the weights, is a softmax of products of activations
    (or another function with f(0) != 0); other kinds, and heads of one feature, are not found. Two units belong to one
    head if their weights compare rows of the same kernels: of grouped queries each head counts, in both resolutions. A
    normalisation whose statistics span heads joins them. Cost: a pass over the units and wires.
    """
    return _heads(part, every=True)


@metric("liveness", "heads")
def dead_heads(part: Part) -> Found:
    """Heads of which no unit, at any position, lies on a source-sink path; the same for both parts. Cost: as `heads`."""
    return _heads(part, every=False)


def _heads(part: Part, every: bool) -> Found:
    found, live = part.swept.once(_heads_of), part.swept.live
    counts = np.zeros(len(part.graph.layers))
    for index, units, labels in found:
        counts[index] = len(np.unique(labels)) - (0 if every else len(np.unique(labels[live[units]])))
    return Found(float(counts.sum()) if found else np.nan, counts if found else counts * np.nan, None, NO_ATTENTION)


@dataclass(frozen=True, eq=False)
class _Marks:
    """Of each unit: its ``labels``, whether it is made of ``products`` of activations, whether these are softmax ``weights``."""

    labels: np.ndarray
    products: np.ndarray
    weights: np.ndarray


def _heads_of(swept: Swept) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of each attention the index of its layer, its units, and the head of each."""
    graph, n, found = swept.graph, swept.graph.n_units, []
    if not graph.gated:
        return []
    marks = _Marks(np.full(n, _NONE), np.zeros(n, bool), np.zeros(n, bool))
    for index, layer in enumerate(graph.layers):
        if not layer.blocks:
            marks.labels[layer.start : layer.stop] = layer.start
        for block in layer.blocks:
            _mark(block, marks)
            found += [(index, *each) for each in _of_attention(block, marks)]
        for stage in layer.stages:
            if isinstance(stage, Lift) and stage.parameter is None:  # what a softmax makes is never zero
                marks.weights[stage.units] |= marks.products[stage.units]
    return found


def _of_attention(block: Block, marks: _Marks) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The units that softmax weights make of values, and the label of the weights of each, if the block is of that kind."""
    if not isinstance(block, Gate):
        return
    least, weights = np.full(len(marks.labels), _NONE), np.zeros(len(marks.labels), bool)
    for operands in (block.lefts, block.rights):
        here = (operands >= 0) & marks.weights[operands]
        weights[operands[here]] = True
        np.minimum.at(least, block.targets[here], marks.labels[operands[here]])
    units = np.flatnonzero(least < _NONE)
    if len(units) > weights.sum():  # where products go element by element, there is a weight for each
        yield units, least[units]


def _mark(block: Block, marks: _Marks) -> None:
    """Mark the targets of a block by what they are made of: with its least label, a row of a kernel at all positions."""
    labels, targets = marks.labels, block.targets
    if isinstance(block, KernelBlock):
        rows, there = np.where(targets < 0, _NONE, targets.astype(np.int64)), targets >= 0
        np.minimum.at(labels, targets[there], np.broadcast_to(rows.min(2, keepdims=True), there.shape)[there])
    elif isinstance(block, Wiring):
        sources, targets = block.sources[block.sources >= 0], targets[block.sources >= 0]
        np.minimum.at(labels, targets, labels[sources])
        marks.products[targets[marks.products[sources]]] = True
        marks.weights[targets[marks.weights[sources]]] = True
    else:
        units, pairs = np.unique(targets), _pairs(block, labels)
        _, first, same = np.unique(pairs[units], axis=0, return_index=True, return_inverse=True)
        labels[units] = units[first][same.reshape(-1)]
        marks.products[units] = True


def _pairs(block: Gate, labels: np.ndarray) -> np.ndarray:
    """Of each unit the least labels of its left and of its right operands, (n_units, 2)."""
    pairs = np.full((len(labels), 2), _NONE)
    for side, operands in enumerate((block.lefts, block.rights)):
        real = operands >= 0
        np.minimum.at(pairs[:, side], block.targets[real], labels[operands[real]])
    return pairs


@metric("liveness", "experts of parameters")
def experts(part: Part) -> Found:
    """Experts of the parameters that stack the kernels of experts along their first axis; the same for both parts.

    Cost: none.
    """
    return _experts(part, every=True)


@metric("liveness", "experts of parameters")
def dead_experts(part: Part) -> Found:
    """Experts without a connection of the part in a parameter that stacks them; in all, summed over parameters.

    Cost: a pass over their masks.
    """
    return _experts(part, every=False)


def _experts(part: Part, every: bool) -> Found:
    counts = {}
    for name in dict.fromkeys(_stacked(part.swept)):
        kept = part.masks[name].unpack()
        counts[name] = float(len(kept) if every else len(kept) - kept.reshape(len(kept), -1).any(1).sum())
    names = part.graph.shapes
    total = sum(counts.values()) if counts else np.nan
    return Found(total, None, {name: counts.get(name, np.nan) for name in names} if counts else None, NO_EXPERTS)


def _stacked(swept: Swept) -> list[str]:
    """The parameters that a grouped product reads, a kernel for each expert."""
    blocks = [b for layer in swept.graph.layers if GROUPED_PRODUCTS in layer.operation for b in layer.blocks]
    return [block.parameter for block in blocks if isinstance(block, KernelBlock)]


dead_heads_of_heads = fraction(dead_heads, heads)
dead_experts_of_experts = fraction(dead_experts, experts)

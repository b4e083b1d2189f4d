"""One sweep over the layers, forwards or backwards, in any algebra.

``values`` hold one value per connection (bytes 0 and 1, or float scores) by parameter name in the parameter's shape;
their element type chooses the algebra (see `graphsparse.semiring`). Biases and scales are no connections: they are
there or not by the graph's masks, in every algebra.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphsparse.blocks import CONSTANT, KernelBlock, Scale, State
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.packed import Mask, PackedMask, count, dense
from graphsparse.semiring import BOOLEAN, Semiring


def forwards(
    graph: LayeredGraph, values: Mapping[str, Any], algebra: Semiring = BOOLEAN, *, states: bool | None = None
) -> State:
    """What reaches each unit from the sources: DESIGN 3's F, or the states of section 2 in the boolean algebra.

    ``states=True`` also follows where units are not zero (needed for constants); by default only where the graph has
    products. Arrays are (n_units + 2,): the constant and the missing unit are last.
    """
    both = graph.gated if states is None else states
    signal = _units(graph, algebra)
    signal[graph.sources] = algebra.one
    nonzero = signal.copy() if both else None
    if nonzero is not None:
        nonzero[CONSTANT] = algebra.one
    state = State(signal, nonzero)
    for layer in graph.layers:
        for block in layer.blocks:
            block.forwards(values, state)
        for stage in layer.stages:
            stage.forwards(graph.values, state, algebra.zero, algebra.one)
    return state


def backwards(graph: LayeredGraph, values: Mapping[str, Any], state: State, algebra: Semiring = BOOLEAN) -> np.ndarray:
    """What each unit reaches of the sinks: DESIGN 3's B, (n_units + 2,)."""
    reach = _units(graph, algebra)
    reach[graph.sinks] = algebra.one
    for layer in reversed(graph.layers):
        for stage in layer.stages:
            if isinstance(stage, Scale):
                stage.backwards(graph.values, reach, algebra.zero)
        for block in reversed(layer.blocks):
            block.backwards(values, state, reach)
    return reach


def connections(
    graph: LayeredGraph,
    values: Mapping[str, Any],
    origin: np.ndarray,
    reach: np.ndarray,
    algebra: Semiring = BOOLEAN,
) -> dict[str, np.ndarray]:
    """What each connection carries from a source to a sink, by parameter in its shape; the sum over a parameter's uses."""
    uses = _uses(graph).items()
    return {n: dense(_of_parameter(blocks, graph.shapes[n], values, origin, reach, algebra)) for n, blocks in uses}


def count_connections(
    graph: LayeredGraph, values: Mapping[str, Any], origin: np.ndarray, reach: np.ndarray
) -> dict[str, int]:
    """How many of each parameter's connections are active; those of masks held as bits are not made for it."""

    def counted(name: str, blocks: list[KernelBlock]) -> int:
        if len(blocks) == 1 and blocks[0].bits(values) is not None:
            return blocks[0].count(values, origin, reach)
        return count(_of_parameter(blocks, graph.shapes[name], values, origin, reach, BOOLEAN))

    return {name: counted(name, blocks) for name, blocks in _uses(graph).items()}


def _uses(graph: LayeredGraph) -> dict[str, list[KernelBlock]]:
    uses: dict[str, list[KernelBlock]] = {name: [] for name in graph.shapes}
    for layer in graph.layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock):
                uses[block.parameter].append(block)
    return uses


def _of_parameter(blocks, shape, values, origin, reach, algebra: Semiring) -> Mask:
    if all(block.bits(values) is not None for block in blocks):
        active = PackedMask(shape, np.zeros_like(values[blocks[0].parameter].words))
        for block in blocks:
            block.mark(values, origin, reach, active)
        return active
    size = int(np.prod(shape))
    if len(blocks) == 1 and blocks[0].view.covers(size):
        return blocks[0].connections(values, origin, reach).reshape(shape)
    flat = np.full(size + 1, algebra.zero, origin.dtype)  # the last is for elements that are always zero
    for block in blocks:
        np.maximum.at(flat, block.view.entries(), block.connections(values, origin, reach))  # one entry may come twice
    return flat[:size].reshape(shape)


def _units(graph: LayeredGraph, algebra: Semiring) -> np.ndarray:
    dtype = np.uint8 if algebra.dtype == bool else algebra.dtype
    return np.full(graph.n_units + 2, algebra.zero, dtype)

"""The kernels of a parameter, and the units at the two ends of their connections."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from graphsparse.algebras import OR_AND
from graphsparse.blocks import KernelBlock, State
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask


def kernels_of(graph: LayeredGraph, name: str, flat: np.ndarray) -> Iterator[np.ndarray]:
    """A parameter's kernels, each once, of a flat array of its entries: (groups, outputs, inputs, taps)."""
    for block in {block.view: block for block in graph.kernels[name]}.values():
        groups, outputs = block.targets.shape[:2]
        yield block.view.of(flat).reshape(groups, outputs, block.sources.shape[1], len(block.taps.table))


def ends(
    graph: LayeredGraph, kept: Mapping[str, Mask], names: Collection[str], signal: Any, reach: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Which units are origins, and which targets, of kept connections of some parameters, bool (n_units,) each.

    Only connections from a unit of ``signal`` to one of ``reach`` count, both in the form of `OR_AND`. Each kernel takes one
    step forwards and one step back. In turn of the layers one vector serves all: forwards a layer is emptied when all that
    read it have done so, back it is when its own kernels have read it.
    """
    into, out, reaches = OR_AND.copy(signal), OR_AND.vector(graph.n_units), OR_AND.units(reach)
    found, chosen = np.zeros(graph.n_units, bool), []
    for layer in graph.layers:
        blocks = [block for block in layer.blocks if isinstance(block, KernelBlock) and block.parameter in names]
        chosen += [(np.arange(layer.start, layer.stop), blocks)] if blocks else []
    for units, blocks in reversed(chosen):
        OR_AND.put(into, units, False)
        for block in blocks:
            block.forwards(kept, State(into, None), OR_AND)
    for units, blocks in chosen:
        found[units] = True
        OR_AND.put(out, units[reaches[units]], True)
        for block in blocks:
            block.backwards(kept, State(into, None), out, OR_AND)
        OR_AND.put(out, units, False)
    return OR_AND.units(out) & OR_AND.units(signal), found & OR_AND.units(into) & reaches

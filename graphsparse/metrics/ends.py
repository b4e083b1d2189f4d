"""The kernels of a parameter, and the units at the two ends of their connections."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from graphsparse.algebras import OR_AND
from graphsparse.blocks import KernelBlock, State
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask
from graphsparse.sweep import Reach


def kernels_of(graph: LayeredGraph, name: str, flat: np.ndarray) -> Iterator[np.ndarray]:
    """A parameter's kernels, each once, of a flat array of its entries: (groups, outputs, inputs, taps)."""
    for block in {block.view: block for block in graph.kernels[name]}.values():
        groups, outputs = block.targets.shape[:2]
        yield block.view.of(flat).reshape(groups, outputs, block.sources.shape[1], len(block.taps.table))


def touched(graph: LayeredGraph, kept: Mapping[str, Mask], found: Reach | None = None) -> np.ndarray:
    """Which units have a kept connection at either end; of what a sweep ``found``, an active one."""
    vectors = (every_unit(graph),) * 2 if found is None else (found.state.signal, found.reach)
    origins, targets = ends(graph, kept, graph.shapes, *vectors)
    return origins | targets


def prunable_units(graph: LayeredGraph) -> np.ndarray:
    """Which units are at an end of a connection, kept or dropped, bool (n_units,)."""
    return touched(graph, all_kept(graph))


def all_kept(graph: LayeredGraph) -> dict[str, Mask]:
    """The masks of kernels that keep everything, those of single uses too."""
    blocks = (block for blocks in graph.kernels.values() for block in blocks)
    return {block.mask: Mask.whole(tuple(graph.shapes[block.parameter])) for block in blocks}


def every_unit(graph: LayeredGraph) -> Any:
    """Every unit, in the form of `OR_AND`."""
    vector = OR_AND.vector(graph.n_units)
    OR_AND.put(vector, np.arange(graph.n_units), True)
    return vector


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

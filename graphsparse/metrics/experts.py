"""Experts of mixtures that are wholly dead: stacked along the first axis of a parameter, or modules of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from graphsparse.blocks import KernelBlock, View
from graphsparse.graph import LayeredGraph
from graphsparse.layers import Layer
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.routes import Mixture, Places, Routes
from graphsparse.metrics.table import Found, metric

NO_EXPERTS = (
    "no experts are found: no numbered modules, and no stacked kernels, whose results are multiplied by a router's"
)
GROUPED_PRODUCTS = "grouped_mm"


@metric("liveness", "experts")
def experts(part: Part) -> Found:
    """Experts of mixtures: in all, and by parameter how many have kernels in it; the same for both parts.

    Experts are numbered modules with kernels of the same shapes, or kernels stacked along the first axis of a parameter.
    They do not feed each other. Each result is multiplied by an activation of the router's, and then they are added; or the
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

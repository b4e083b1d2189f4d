"""Metrics of source-sink paths: how many, how long, and what node-path balance counts.

Paths lie in the active part, so both parts have the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphsparse.algebras import MAX_PLUS, SHORTEST
from graphsparse.blocks import KernelBlock
from graphsparse.kernels.element_loops import meet
from graphsparse.kernels.numbers import Numbers, ids_of
from graphsparse.metrics.counting import counted, dense_paths, log10_sum, log10_through, paths_of, paths_with_lifts
from graphsparse.metrics.liveness import lines
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric
from graphsparse.sweep import Reach, sweep

NO_PATH = "there is no path from a source to a sink"


@metric("paths", "log10 of paths")
def log10_paths(part: Part) -> Found:
    """Decimal logarithm of the number of source-sink paths: in all, through a layer's units, through a parameter.

    A path may take a shared connection several times, and is counted with each. Exact up to 2 ** 53, beyond to 1e-16 for
    each addition, at any size. Cost: one sweep in (+, x), 20 bytes per kept connection; 28 beyond 10 ** 140.
    """
    return part.swept.once(counted, _log10_found)


@metric("paths", "paths")
def paths(part: Part) -> Found:
    """The number of source-sink paths; infinite beyond 1.8e308, where `log10_paths` goes on. Cost: as `log10_paths`."""
    found = part.swept.once(counted, _log10_found)
    assert found.total is not None and found.layers is not None and found.parameters is not None
    layers, parameters = map(_number, found.layers.tolist()), found.parameters.items()
    return Found(_number(found.total), np.asarray([*layers]), {name: _number(log) for name, log in parameters})


def _number(log: float) -> float:
    """The number of a decimal logarithm: 0 where that is NaN, infinity where it does not fit."""
    with np.errstate(over="ignore"):
        return (
            0.0 if np.isnan(log) else float(np.rint(10.0**log)) if log < 15 else float(np.power(10.0, np.float64(log)))
        )


@metric("paths", "log10 of a fraction")
def log10_paths_of_dense_paths(part: Part) -> Found:
    """Path density: `log10_paths` in all less that of the same network with nothing dropped.

    Cost: a pass over the units of each kernel, since all rows of a kernel that keeps everything hold the same.
    """
    found = part.swept.once(counted, _log10_found).total
    assert found is not None
    return Found(found - part.swept.once(counted, dense_paths), undefined=NO_PATH)


@metric("paths", "connections")
def shortest_path(part: Part) -> Found:
    """The fewest connections on a source-sink path, in all, through a unit of a layer, through a connection of a parameter.

    Wires count nothing. Cost: one sweep in (min, +), 20 bytes per kept connection.
    """
    return part.swept.once(_length, SHORTEST, np.min)


@metric("paths", "connections")
def longest_path(part: Part) -> Found:
    """The most connections on a source-sink path. Cost: one sweep in (max, +), 20 bytes per kept connection."""
    return part.swept.once(_length, MAX_PLUS, np.max)


@metric("paths", "units", of="units", shared=True)
def effective_nodes(part: Part) -> Found:
    """Units on a source-sink path, by layer (node-path balance: Pham et al. 2023, NeurIPS). Cost: as `units`."""
    return Found.of_units(part, part.swept.live)


@metric("paths", "columns", of="columns")
def effective_channels(part: Part) -> Found:
    """Input channels and features of a parameter with a connection of the part; with an active one in the active part.

    Pham et al. 2023 count per layer those whose weights get a gradient with every kept weight 1, which is the active
    part's number for networks without biases. Cost: as `columns`.
    """
    every, dead = part.once(lines, 1)
    return Found.of_parameters({name: count - dead[name] for name, count in every.items()})


@metric("paths", "log10 of paths")
def log10_paths_with_biases(part: Part) -> Found:
    """`log10_paths` with a path begun at every kept bias or shift, too: effective paths as node-path balance counts them.

    Their code sets every parameter to 1, biases and the weights of normalisations too, and sums the outputs for inputs of
    one (Pham et al. 2023), so these are no source-sink paths where there are biases. Where several biases or shifts lie
    on one unit each begins a path. Scales of 1 change nothing; a batch norm's statistics, which they leave, are not here.
    Cost: one sweep in (+, x).
    """
    return Found(part.swept.once(counted, paths_with_lifts), undefined="no source and no bias leads to a sink")


def _log10_found(swept: Swept, algebra: Numbers) -> Found:
    """The decimal logarithms of the paths in all, through layers and through parameters."""
    graph, found = swept.graph, paths_of(swept, algebra)
    here = [slice(layer.start, layer.stop) for layer in graph.layers]
    layers = [log10_through(algebra, found.signal[each], found.reaches[each]) for each in here]
    parameters = {name: log10_sum(algebra, total) for name, total in totals(found, algebra).items()}
    return Found(log10_sum(algebra, found.signal[graph.sinks]), np.asarray(layers), parameters, NO_PATH)


def totals(found: Reach, algebra: Numbers) -> dict[str, np.ndarray]:
    """What the connections of each parameter carry together, (1,) each.

    It is what they bring to their targets, met with what these reach. Where nothing else feeds a layer that is what its
    units hold.
    """
    graph, signal = found.graph, found.state.signal
    sums = {name: np.full(1, algebra.zero, algebra.dtype) for name in graph.shapes}
    for layer in graph.layers:
        alone = len(layer.blocks) == 1 and not ((graph.sources >= layer.start) & (graph.sources < layer.stop)).any()
        for block in layer.blocks:
            if isinstance(block, KernelBlock):
                here = slice(layer.start, layer.stop)
                brought = signal[here] if alone else algebra.brought(block, found.values[block.mask], signal)
                met = found.reach[here] if alone else found.reach[ids_of(block.targets)]
                meet(algebra.element, brought.reshape(-1), met.reshape(-1), sums[block.parameter])
    return sums


def _length(swept: Swept, algebra: Numbers, chosen: Callable[..., Any]) -> Found:
    """The least or greatest length; a layer or parameter that no path leads through has none."""
    graph, found = swept.graph, sweep(swept.graph, swept.listed(np.float32(1)), algebra)

    def best(values: np.ndarray) -> float:
        length = float(
            chosen(values, initial=algebra.zero)
        )  # no path is infinite: it is chosen where nothing else is there
        return length if np.isfinite(length) else np.nan

    through = found.signal + found.reaches
    layers = np.asarray([best(through[layer.start : layer.stop]) for layer in graph.layers])
    parameters = {name: best(total) for name, total in totals(found, algebra).items()}
    return Found(best(found.signal[graph.sinks]), layers, parameters, NO_PATH)

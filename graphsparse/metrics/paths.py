"""Metrics of source-sink paths: how many, how long, and what node-path balance counts.

Paths lie in the active part, so both parts have the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from graphsparse.algebras import PLUS_TIMES, as_pairs, log10_of_pairs
from graphsparse.blocks import Lift, State
from graphsparse.kernels import element_loops as loops
from graphsparse.metrics.cones import dense
from graphsparse.metrics.liveness import columns, dead_columns
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric
from graphsparse.sweep import Reach, forwards

NO_PATH = "there is no path from a source to a sink"


@metric("paths", "log10 of paths")
def log10_paths(part: Part) -> Found:
    """Decimal logarithm of the number of source-sink paths: in all, through a layer's units, through a parameter.

    A path may take a shared connection several times, and is counted with each. Exact up to 2 ** 53, beyond to 1e-16 for
    each addition, at any size. Cost: one sweep in (+, x), 16 bytes per connection.
    """
    return part.swept.once(log10_found)


@metric("paths", "paths")
def paths(part: Part) -> Found:
    """The number of source-sink paths; infinite beyond 1.8e308, where `log10_paths` goes on. Cost: as `log10_paths`."""
    found = part.swept.once(log10_found)
    number = lambda log: 0.0 if np.isnan(log) else float(np.rint(10.0**log)) if log < 15 else _power(log)
    return Found(
        number(found.total), np.asarray([number(log) for log in found.layers.tolist()]),  # type: ignore[union-attr]
        {name: number(log) for name, log in (found.parameters or {}).items()},
    )  # fmt: skip


@metric("paths", "log10 of a fraction")
def log10_paths_of_dense_paths(part: Part) -> Found:
    """Path density: `log10_paths` in all less that of the same network with nothing dropped.

    Cost: a sweep in (+, x) forwards over all that could be kept; on large unrolled networks the dearest of this group.
    """
    return Found(part.swept.once(log10_found).total - part.swept.once(_dense), undefined=NO_PATH)  # type: ignore[operator]


def _dense(swept: Swept) -> float:
    """The decimal logarithm of the paths of the network with every connection kept."""
    whole = dense(swept.graph)
    values = {key: as_pairs(mask.unpack().astype(np.float64)) for key, mask in whole.kept.items()}
    state = forwards(whole, values, PLUS_TIMES, states=whole.gated)
    return _defined(_sum(PLUS_TIMES.units(state.signal)[whole.sinks]))


@metric("paths", "connections")
def shortest_path(part: Part) -> Found:
    """The fewest connections on a source-sink path, in all, through a unit of a layer, through a connection of a parameter.

    Wires count nothing. Cost: one sweep in (min, +), 8 bytes per connection.
    """
    return _length(part.swept.shortest, np.min)


@metric("paths", "connections")
def longest_path(part: Part) -> Found:
    """The most connections on a source-sink path. Cost: one sweep in (max, +), 8 bytes per connection."""
    return _length(part.swept.longest, np.max)


@metric("paths", "units")
def effective_nodes(part: Part) -> Found:
    """Units on a source-sink path, by layer (node-path balance: Pham et al. 2023, NeurIPS). Cost: as `units`."""
    return Found.of_units(part, part.swept.live)


@metric("paths", "columns")
def effective_channels(part: Part) -> Found:
    """Input channels and features of a parameter with a connection of the part; with an active one in the active part.

    Pham et al. 2023 count per layer those whose weights get a gradient with every kept weight 1, which is the active
    part's number for networks without biases. Cost: as `columns`.
    """
    every, gone = columns(part).parameters or {}, dead_columns(part).parameters or {}
    return Found.of_parameters({name: count - gone[name] for name, count in every.items()})


@metric("paths", "log10 of paths")
def log10_paths_with_biases(part: Part) -> Found:
    """`log10_paths` with a path begun at every kept bias or shift, too: effective paths as node-path balance counts them.

    Their code sets every parameter to 1, biases and the weights of normalisations too, and sums the outputs for inputs of
    one (Pham et al. 2023), so these are no source-sink paths where there are biases. Where several biases or shifts lie
    on one unit each begins a path. Scales of 1 change nothing; a batch norm's statistics, which they leave, are not here.
    Cost: one sweep in (+, x).
    """
    found = part.swept.once(_with_lifts)
    return Found(found, undefined="no source and no bias leads to a sink")


def _power(log: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.power(10.0, np.float64(log)))


def _sum(values: np.ndarray) -> complex:
    """The sum of pairs."""
    flat = np.zeros(1, complex)
    loops.add_at(PLUS_TIMES.element, flat, np.zeros(values.size, np.int64), np.ascontiguousarray(values).ravel())
    return flat[0]


def log10_found(swept: Swept) -> Found:
    """The decimal logarithms of the paths in all, through layers and through parameters."""
    graph, found = swept.graph, swept.paths
    through = _times(found.signal, found.reaches)
    layers = [_defined(_sum(through[layer.start : layer.stop])) for layer in graph.layers]
    parameters = {name: _defined(_sum(each)) for name, each in found.connections().items()}
    return Found(_defined(_sum(found.signal[graph.sinks])), np.asarray(layers), parameters, NO_PATH)


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    mantissa = a.real * b.real
    shifted, exponent = np.frexp(mantissa)
    return np.where(mantissa == 0, 0, shifted + 1j * (exponent + a.imag + b.imag))


def _defined(pair: complex) -> float:
    log = float(log10_of_pairs(np.asarray([pair]))[0])
    return log if np.isfinite(log) else np.nan


def _length(found: Reach, chosen: Callable) -> Found:
    """The least or greatest length; a layer or parameter that no path leads through has none."""
    graph = found.graph
    best = partial(_finite, chosen=chosen)
    through = found.signal + found.reaches
    layers = np.asarray([best(through[layer.start : layer.stop]) for layer in graph.layers])
    parameters = {name: best(each) for name, each in found.connections().items()}
    return Found(best(found.signal[graph.sinks]), layers, parameters, NO_PATH)


def _finite(values: np.ndarray, chosen: Callable) -> float:
    finite = values[np.isfinite(values)]
    return float(chosen(finite)) if finite.size else np.nan


def _with_lifts(swept: Swept) -> float:
    """The sum over sinks of the paths from sources and from kept biases."""
    graph, algebra = swept.graph, PLUS_TIMES
    values = {key: as_pairs(mask.unpack().astype(float)) for key, mask in graph.kept.items()}
    state: State = swept.paths.state
    signal = algebra.vector(graph.n_units)
    algebra.put(signal, graph.sources, True)
    state = State(signal, state.nonzero, True)
    for layer in graph.layers:
        for block in layer.blocks:
            block.forwards(values, state, algebra)
        for stage in layer.stages:
            stage.forwards(graph.kept, state, algebra)
            if isinstance(stage, Lift) and stage.parameter is not None:
                units = stage.units[graph.kept[stage.parameter].unpack().ravel()[stage.entries]]
                loops.add_at(algebra.element, signal, units.astype(np.int64), np.full(len(units), algebra.one))
    return _defined(_sum(algebra.units(signal)[graph.sinks]))

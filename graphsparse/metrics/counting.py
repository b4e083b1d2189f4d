"""Counts of source-sink paths: in floats, which vectorise, and as pairs of mantissa and exponent where those overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from graphsparse.algebras import PLUS_TIMES, Element, log10_of_pairs
from graphsparse.blocks import KernelBlock, Lift, State
from graphsparse.graph import LayeredGraph
from graphsparse.kernels import element_loops as loops
from graphsparse.kernels.compiling import Loop
from graphsparse.kernels.elements import add
from graphsparse.kernels.layout import View
from graphsparse.kernels.numbers import Numbers
from graphsparse.metrics.cones import dense, nonzero_of, ones_at
from graphsparse.metrics.parts import Swept
from graphsparse.sweep import Reach, sweep

T = TypeVar("T")
LARGEST = 1e140
"""Counts of units beyond which floats are left: the product of two such counts can still be added up."""


class _Sum(Element):
    @staticmethod
    def plus(a: Any, b: Any) -> Any:
        return a + b

    @staticmethod
    def times(a: Any, b: Any) -> Any:
        return a * b


COUNTS = Numbers("plus_times_64", _Sum(np.float64(0), np.float64(1)), np.dtype(np.float64), True)
"""The algebra (+, x) in float64: exact up to 2 ** 53."""


def counted(swept: Swept, find: Callable[[Swept, Numbers], T]) -> T:
    """What ``find`` returns with the algebra of floats or, where that raises OverflowError, with that of pairs."""
    try:
        return find(swept, COUNTS)
    except OverflowError:
        return find(swept, PLUS_TIMES)


def paths_of(swept: Swept, algebra: Numbers) -> Reach:
    """The paths from sources to each unit and on to sinks. Raises OverflowError where floats do not hold them."""
    found = sweep(swept.graph, swept.listed(algebra.one), algebra)
    _check(algebra, found.signal, found.reaches)
    return found


def dense_paths(swept: Swept, algebra: Numbers) -> float:
    """The decimal logarithm of the source-sink paths of the network with every connection kept."""
    whole = dense(swept.graph)
    # where no strides lay out a kernel, it may have elements that are always zero
    by_places = [block for blocks in whole.kernels.values() for block in blocks if not isinstance(block.view, View)]
    values = {block.mask: algebra.of_mask(whole.kept[block.mask]) for block in by_places}
    state = _start(whole, Swept(whole), algebra)
    for layer in whole.layers:
        for block in layer.blocks:
            if isinstance(block, KernelBlock) and block.mask not in values:
                _all_kept(algebra.element, state.signal, block.sources, block.targets, block.taps.table)
            else:
                block.forwards(values, state, algebra)
        for stage in layer.stages:
            stage.forwards(whole.kept, state, algebra)
    return log10_at(algebra, state.signal, whole.sinks)


def paths_with_lifts(swept: Swept, algebra: Numbers) -> float:
    """The decimal logarithm of the paths to sinks from sources and from kept biases and shifts."""
    graph = swept.graph
    values, state = swept.listed(algebra.one), _start(graph, swept, algebra)
    for layer in graph.layers:
        for block in layer.blocks:
            block.forwards(values, state, algebra)
        for stage in layer.stages:
            stage.forwards(graph.kept, state, algebra)
            if isinstance(stage, Lift) and stage.parameter is not None:
                units = stage.units[graph.kept[stage.parameter].unpack().ravel()[stage.entries]]
                ones = np.full(len(units), algebra.one, algebra.dtype)
                loops.add_at(algebra.element, state.signal, units.astype(np.int64), ones)
    return log10_at(algebra, state.signal, graph.sinks)


def _start(graph: LayeredGraph, swept: Swept, algebra: Numbers) -> State:
    """One path at every source; and which units are not zero, where there are products."""
    return State(ones_at(graph, graph.sources, algebra), nonzero_of(swept, algebra) if graph.gated else None, True)


def log10_at(algebra: Numbers, vector: np.ndarray, units: np.ndarray) -> float:
    """The decimal logarithm of the sum over units of a vector that a pass forwards found; NaN of none."""
    values = algebra.units(vector)
    _check(algebra, values)
    return log10_sum(algebra, values[units])


def log10_sum(algebra: Numbers, values: np.ndarray) -> float:
    """The decimal logarithm of the sum of values of an algebra; NaN where it is 0."""
    if algebra is COUNTS:
        total = float(values.sum())
        return float(np.log10(total)) if total else np.nan
    flat = np.zeros(1, complex)
    loops.add_at(algebra.element, flat, np.zeros(values.size, np.int64), np.ascontiguousarray(values).ravel())
    log = float(log10_of_pairs(flat)[0])
    return log if np.isfinite(log) else np.nan


def log10_through(algebra: Numbers, a: np.ndarray, b: np.ndarray) -> float:
    """The decimal logarithm of the paths through some units: the sum of those to each times those on from it."""
    total = np.full(1, algebra.zero, algebra.dtype)
    loops.meet(algebra.element, a, b, total)
    return log10_sum(algebra, total)


def _check(algebra: Numbers, *vectors: np.ndarray) -> None:
    if algebra is COUNTS and not all(vector.max(initial=0) < LARGEST for vector in vectors):
        raise OverflowError("counts beyond the range of floats")


@Loop
def _all_kept(algebra: Any, vector: Any, sources: Any, targets: Any, table: Any) -> Any:
    """Add to the targets what a kernel brings that keeps everything: the same to all rows of a group."""
    for g in range(sources.shape[0]):
        sums = np.full(sources.shape[2], algebra.zero)
        for c in range(sources.shape[1]):
            for q in range(sources.shape[2]):
                if sources[g, c, q] >= 0:
                    sums[q] = add(algebra, sums[q], vector[sources[g, c, q]])
        for p in range(table.shape[1]):
            total = algebra.zero
            for k in range(table.shape[0]):
                if table[k, p] >= 0:
                    total = add(algebra, total, sums[table[k, p]])
            for r in range(targets.shape[1]):
                vector[targets[g, r, p]] = add(algebra, vector[targets[g, r, p]], total)

"""Metrics of patterns that a machine can use: N of M neighbouring inputs, and blocks that are whole or empty."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import numpy as np

from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric

NO_ENTRIES = "the parameter has no connections, kept or dropped"
ALL_OR_NONE = "all connections of the parameter are there, or none"
LENGTHS = 2, 4, 8, 16, 32


@metric("structure", "groups")
def groups_of_4(part: Part) -> Found:
    """Groups of four neighbouring inputs of an output feature; of a convolution, of input channels at one tap.

    A last group may be shorter. The same for both parts. Cost: a pass over the masks.
    """
    return Found.of_parameters({name: float(_in_groups(part, name, 4).size) for name in part.graph.shapes})


@metric("structure", "groups")
def groups_of_8(part: Part) -> Found:
    """Groups of eight neighbouring inputs of an output feature, as `groups_of_4`. Cost: a pass over the masks."""
    return Found.of_parameters({name: float(_in_groups(part, name, 8).size) for name in part.graph.shapes})


@metric("structure", "groups", of="groups_of_4")
def groups_of_4_within_1(part: Part) -> Found:
    """Of `groups_of_4`, those with at most one connection of the part: all of them in the pattern 1:4. Cost: as that."""
    return _within(part, 1, 4)


@metric("structure", "groups", of="groups_of_4")
def groups_of_4_within_2(part: Part) -> Found:
    """Of `groups_of_4`, those with at most two: all of them in the pattern 2:4 of sparse tensor cores. Cost: as that."""
    return _within(part, 2, 4)


@metric("structure", "groups", of="groups_of_8")
def groups_of_8_within_4(part: Part) -> Found:
    """Of `groups_of_8`, those with at most four connections: all of them in the pattern 4:8. Cost: as that."""
    return _within(part, 4, 8)


@metric("structure", "connections")
def most_of_4(part: Part) -> Found:
    """The N for which the pattern N:4 is found: the most connections of the part in any of `groups_of_4`. Cost: as that."""
    return _most(part, 4)


@metric("structure", "connections")
def most_of_8(part: Part) -> Found:
    """The N for which the pattern N:8 is found: the most connections in any of `groups_of_8`. Cost: as that."""
    return _most(part, 8)


@metric("structure", "connections")
def most_of_16(part: Part) -> Found:
    """The N for which the pattern N:16 is found. Cost: as `groups_of_4`."""
    return _most(part, 16)


@metric("structure", "inputs")
def whole_runs_of_inputs(part: Part) -> Found:
    """The longest of 2, 4, 8, 16, 32 such that each run of so many neighbouring inputs is wholly there or not at all; else 1.

    Runs begin at multiples of their length, of an output feature and of a convolution's input channels at one tap. What
    a length does not divide has no runs of it. Cost: as `groups_of_4`, once for each length that is found.
    """
    return _blocks(part, inputs=True)


@metric("structure", "outputs")
def whole_runs_of_outputs(part: Part) -> Found:
    """As `whole_runs_of_inputs`, of neighbouring output features of one input. Cost: as that."""
    return _blocks(part, outputs=True)


@metric("structure", "inputs and outputs")
def whole_square_blocks(part: Part) -> Found:
    """As `whole_runs_of_inputs`, of square blocks of output features and inputs (block sparsity). Cost: as that."""
    return _blocks(part, inputs=True, outputs=True)


def _kernels(part: Part, name: str) -> Iterator[np.ndarray]:
    """A parameter's kernels, each once: bool (groups, outputs, inputs, taps)."""
    flat = part.masks[name].unpack().reshape(-1)
    for block in {block.view: block for block in part.graph.kernels[name]}.values():
        groups, rows = block.targets.shape[:2]
        yield block.view.of(flat).reshape(groups, rows, block.sources.shape[1], len(block.taps.table))


def _in_groups(part: Part, name: str, size: int) -> np.ndarray:
    """How many connections each group of so many neighbouring inputs has."""
    none = np.empty(0, np.int64)
    counts = [np.add.reduceat(kernel, range(0, kernel.shape[2], size), 2, np.int64).reshape(-1) if kernel.size else none
              for kernel in _kernels(part, name)]  # fmt: skip
    return np.concatenate([none, *counts])


def _within(part: Part, n: int, size: int) -> Found:
    return Found.of_parameters({name: float((_in_groups(part, name, size) <= n).sum()) for name in part.graph.shapes})


def _most(part: Part, size: int) -> Found:
    """By parameter; in all the greatest of them."""
    values = {name: float(_in_groups(part, name, size).max(initial=-1)) for name in part.graph.shapes}
    return _summed({name: np.nan if value < 0 else value for name, value in values.items()}, np.max, NO_ENTRIES)


def _blocks(part: Part, *, inputs: bool = False, outputs: bool = False) -> Found:
    """By parameter; in all the least of them."""
    values = {}
    for name, shape in part.graph.shapes.items():
        trivial = part.masks[name].count() in (0, int(np.prod(shape)))
        values[name] = np.nan if trivial else _longest(part, name, inputs, outputs)
    return _summed(values, np.min, ALL_OR_NONE)


def _longest(part: Part, name: str, inputs: bool, outputs: bool) -> float:
    kernels = list(_kernels(part, name))
    whole = lambda n: all(_whole(kernel, n if outputs else 1, n if inputs else 1) for kernel in kernels)
    return float(max([1, *takewhile(whole, LENGTHS)]))  # what is whole at one length is so at each that divides it


def _whole(kernel: np.ndarray, outputs: int, inputs: int) -> bool:
    """Whether every block of so many outputs and inputs is all kept or all dropped."""
    groups, rows, channels, taps = kernel.shape
    if rows % outputs or channels % inputs:
        return False
    blocks = kernel.reshape(groups, rows // outputs, outputs, channels // inputs, inputs, taps)
    return bool((blocks.all((2, 4)) == blocks.any((2, 4))).all())


def _summed(values: dict[str, float], of_all: Any, undefined: str) -> Found:
    """Values of parameters, and one of all that are defined."""
    defined = [value for value in values.values() if not np.isnan(value)]
    return Found(float(of_all(defined)) if defined else np.nan, None, values, undefined)

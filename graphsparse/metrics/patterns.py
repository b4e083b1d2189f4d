"""Metrics of patterns that a machine can use: N of M neighbouring inputs, and blocks that are whole or empty."""

from __future__ import annotations

from functools import partial
from itertools import takewhile

import numpy as np

from graphsparse.metrics.ends import kernels_of
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, Metric, metric

NO_ENTRIES = "the parameter has no connections, kept or dropped"
ALL_OR_NONE = "all connections of the parameter are there, or none"
LENGTHS = 2, 4, 8, 16, 32


def _within(part: Part, most: int, size: int) -> Found:
    """How many groups of ``size`` neighbouring inputs have at most so many connections of the part."""
    return Found.of_parameters(
        {name: float((_in_groups(part, name, size) <= most).sum()) for name in part.graph.shapes}
    )


def _most(part: Part, size: int) -> Found:
    """The most connections of the part in a group of ``size`` neighbouring inputs."""
    values = {name: float(_in_groups(part, name, size).max(initial=-1)) for name in part.graph.shapes}
    values = {name: np.nan if value < 0 else value for name, value in values.items()}
    return Found.over_parameters(values, np.max, NO_ENTRIES)


def _in_groups(part: Part, name: str, size: int) -> np.ndarray:
    """How many connections each group of ``size`` neighbouring inputs has."""
    kernels = kernels_of(part.graph, name, part.masks[name].unpack().reshape(-1))
    counts = [np.add.reduceat(each, range(0, each.shape[2], size), 2, np.int64) for each in kernels if each.size]
    return np.concatenate([np.empty(0, np.int64), *(each.reshape(-1) for each in counts)])


GROUPS = tuple(
    Metric(name, "structure", unit, function, text, of=of)
    for name, unit, function, of, text in (
        ("groups_of_4", "groups", partial(_within, most=4, size=4), "",
         "Groups of four neighbouring inputs of an output feature; of a convolution, of input channels at one tap. The last "
         "group may be shorter. The same for both parts. Cost: a pass over the masks."),
        ("groups_of_8", "groups", partial(_within, most=8, size=8), "",
         "Groups of eight neighbouring inputs of an output feature, as `groups_of_4`. Cost: a pass over the masks."),
        ("groups_of_4_within_1", "groups", partial(_within, most=1, size=4), "groups_of_4",
         "Of `groups_of_4`, those with at most one connection of the part: all of them in the pattern 1:4. Cost: as that."),
        ("groups_of_4_within_2", "groups", partial(_within, most=2, size=4), "groups_of_4",
         "Of `groups_of_4`, those with at most two: all of them in the pattern 2:4 of sparse tensor cores. Cost: as that."),
        ("groups_of_8_within_4", "groups", partial(_within, most=4, size=8), "groups_of_8",
         "Of `groups_of_8`, those with at most four connections: all of them in the pattern 4:8. Cost: as that."),
        ("most_of_4", "connections", partial(_most, size=4), "",
         "The N for which the pattern N:4 is found: the most connections of the part in any of `groups_of_4`. Cost: as that."),
        ("most_of_8", "connections", partial(_most, size=8), "",
         "The N for which the pattern N:8 is found: the most connections in any of `groups_of_8`. Cost: as that."),
        ("most_of_16", "connections", partial(_most, size=16), "",
         "The N for which the pattern N:16 is found. Cost: as `groups_of_4`."),
    )
)  # fmt: skip


@metric("structure", "inputs")
def whole_runs_of_inputs(part: Part) -> Found:
    """The longest of 2, 4, 8, 16, 32 such that each run of so many neighbouring inputs is wholly there or not at all; else 1.

    Runs begin at multiples of their length, of an output feature and of a convolution's input channels at one tap. What
    a length does not divide has no runs of it. In all: the least of all parameters. Cost: as `groups_of_4`, once for each
    length that is found.
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


def _blocks(part: Part, *, inputs: bool = False, outputs: bool = False) -> Found:
    values = dict.fromkeys(part.graph.shapes, np.nan)
    for name, mask in part.masks.items():
        if mask.count() not in (0, mask.size):
            kernels = list(kernels_of(part.graph, name, mask.unpack().reshape(-1)))
            whole = lambda n: all(_whole(kernel, n if outputs else 1, n if inputs else 1) for kernel in kernels)
            # what is whole at one length is so at each that divides it
            values[name] = float(max([1, *takewhile(whole, LENGTHS)]))
    return Found.over_parameters(values, np.min, ALL_OR_NONE)


def _whole(kernel: np.ndarray, outputs: int, inputs: int) -> bool:
    """Whether every block of so many outputs and inputs is all kept or all dropped."""
    groups, rows, channels, taps = kernel.shape
    if rows % outputs or channels % inputs:
        return False
    blocks = kernel.reshape(groups, rows // outputs, outputs, channels // inputs, inputs, taps)
    return bool((blocks.all((2, 4)) == blocks.any((2, 4))).all())

"""Metrics of liveness: what is dead, and how much of that one look at a unit's neighbours would see."""

from __future__ import annotations

import numpy as np

from graphsparse.blocks import KernelBlock
from graphsparse.metrics.edges import entering
from graphsparse.metrics.ends import kernels_of, prunable_units
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric, rows_of_parameters, rows_of_units


def _prunable(swept: Swept) -> np.ndarray:
    return prunable_units(swept.graph)


UNITS = rows_of_units("liveness", "units", (
    ("units", "", lambda part: part.units,
     "Units; of the active part those on a source-sink path. Cost: one sweep in (or, and), shared by this group."),
    ("starved", "units", lambda part: part.units & ~part.swept.liveness.signal,
     "Units that no source reaches (docs/semantics.md, Terms). Cost: that of `units`."),
    ("stranded", "units", lambda part: part.units & ~part.swept.liveness.reaches,
     "Units that reach no sink. Cost: that of `units`."),
    ("constant", "units", lambda part: part.units & part.swept.liveness.nonzero & ~part.swept.liveness.signal,
     "Units that hold a number other than zero that no input moves. Cost: that of `units`."),
    ("prunable_units", "", lambda part: part.swept.once(_prunable),
     "Units at an end of at least one prunable connection, kept or dropped; the same for both parts. Cost: one sweep."),
    ("connected_units", "prunable_units", lambda part: part.joined,
     "Units with at least one connection of the part; wires do not count. Over `prunable_units` it is the active neuron "
     "post-percolation rate (ANP) of Zhang et al. (2024, Cannistraci-Hebb training); their code looks at what is kept, not at "
     "what is active. Cost: one sweep."),
))  # fmt: skip


def lines(part: Part, axis: int) -> tuple[dict[str, int], dict[str, int]]:
    """How many rows (axis 0) or columns (axis 1) each parameter's kernels have, and how many have no connection.

    A column is an input feature, or an input channel with all its taps. Each kernel counts once.
    """
    every, dead = dict.fromkeys(part.graph.shapes, 0), dict.fromkeys(part.graph.shapes, 0)
    for name, mask in part.masks.items():
        for kernel in kernels_of(part.graph, name, mask.unpack().reshape(-1)):
            alive = kernel.any((2, 3) if axis == 0 else (1, 3))
            every[name] += alive.size
            dead[name] += int(np.count_nonzero(~alive))
    return every, dead


CONNECTIONS = rows_of_parameters("liveness", "connections", (
    ("connections", "", lambda part: {name: mask.size for name, mask in part.masks.items()},
     "Entries of prunable kernels, each parameter once. Cost: none."),
    ("remaining", "connections", lambda part: {name: mask.count() for name, mask in part.masks.items()},
     "Connections of the part: those kept, those active (Vysogorets and Kempe 2023). Cost: that of `units`."),
))  # fmt: skip
LINES = rows_of_parameters("liveness", "rows", (
    ("rows", "", lambda part: part.once(lines, 0)[0],
     "Rows of kernels: output features and channels. Cost: a pass over the masks."),
    ("dead_rows", "rows", lambda part: part.once(lines, 0)[1],
     "Rows of kernels without a connection of the part: entries of the mask are looked at, never sums. Cost: as `rows`."),
)) + rows_of_parameters("liveness", "columns", (
    ("columns", "", lambda part: part.once(lines, 1)[0],
     "Columns of kernels: input features, or input channels with all their taps. Cost: a pass over the masks."),
    ("dead_columns", "columns", lambda part: part.once(lines, 1)[1],
     "Columns of kernels (input features or channels) without a connection of the part. Cost: as `columns`."),
))  # fmt: skip


@metric("liveness", "channels", shared=True)
def channels(part: Part) -> Found:
    """Output channels and features of kernels by the layer that they make, each with all its positions; the same for both
    parts. Cost: a pass over the units."""
    return _sums([len(each) for each in part.swept.once(_channels)])


@metric("liveness", "channels", of="channels", shared=True)
def dead_channels(part: Part) -> Found:
    """Channels of which no unit, at any position, lies on a source-sink path; the same for both parts. Cost: as `units`."""
    return _sums([len(each) - sum(each.values()) for each in part.swept.once(_channels)])


def _sums(counts: list[int]) -> Found:
    return Found(float(sum(counts)), np.asarray(counts, float))


def _channels(swept: Swept) -> list[dict[int, bool]]:
    """By layer whether each channel, named by its first unit, is alive; rows of several kernels that are added to the same
    units are one channel."""
    found, live = [], np.append(swept.live, [False, False])  # negative ids are no units
    for layer in swept.graph.layers:
        blocks = [b.targets.reshape(-1, b.targets.shape[-1]) for b in layer.blocks if isinstance(b, KernelBlock)]
        found.append(dict[int, bool]())
        for block in (block for block in blocks if block.size):
            found[-1].update(zip(block[:, 0].tolist(), live[block].any(1).tolist(), strict=True))
    return found


def _lacking(part: Part, direction: str) -> np.ndarray:
    """Which units have no edges in one direction but have some in the other; sources need none in, sinks none out."""
    other = "out" if direction == "in" else "in"
    return part.inner(direction) & (part.degrees(direction) == 0) & (part.degrees(other) > 0)


def _removable(part: Part) -> np.ndarray:
    """How many removable edges enter each unit: all if none leaves it, else those from units that none enters."""
    from_beginnings = entering(part.edges, np.flatnonzero(part.once(_lacking, "in")))
    return np.where(part.once(_lacking, "out"), part.in_degrees, from_beginnings)


ONE_HOP = rows_of_units("one hop", "edges", (
    ("edges", "", lambda part: part.in_degrees,
     "Edges of the graph by the layer of their target: connections at each position and wires; parallel ones are one. "
     "Cost: the csr matrix, 5 bytes per edge."),
)) + rows_of_units("one hop", "units", (
    ("no_output_edge", "units", lambda part: part.once(_lacking, "out"),
     'Units with an edge in, none out, and no sinks themselves: "sink units" of Cunegatti et al. 2024. Cost: as `edges`.'),
    ("no_input_edge", "units", lambda part: part.once(_lacking, "in"),
     'Units with an edge out, none in, and no sources themselves: "source units" of Cunegatti et al. Cost: as `edges`.'),
    ("disconnected", "units", lambda part: part.units & (part.in_degrees == 0) & (part.out_degrees == 0),
     "Units of the part without any edge (Cunegatti et al. 2024). Cost: as `edges`."),
)) + rows_of_units("one hop", "edges", (
    ("removable_in", "edges", lambda part: np.where(part.once(_lacking, "out"), part.in_degrees, 0),
     'Edges into units that have none out: "removable in-connections" of Cunegatti et al. 2024, one step alone. '
     "Their code's filters are off by one unit; these are not. Cost: as `edges`."),
    ("removable_out", "edges", lambda part: np.where(part.once(_lacking, "in"), part.out_degrees, 0),
     'Edges out of units that have none in: "removable out-connections" of Cunegatti et al. 2024. Cost: as `edges`.'),
    ("removable_one_hop", "edges", lambda part: part.once(_removable),
     "Edges that are removable in either way, each once, by the layer of their target. Cost: as `edges`."),
    ("inactive_edges", "edges", lambda part: part.in_degrees - part.swept.in_degrees["active"],
     "Edges of the part on no source-sink path, by the layer of their target. Cost: as `edges`."),
    ("inactive_beyond_one_hop", "",
     lambda part: part.in_degrees - part.swept.in_degrees["active"] - part.once(_removable),
     "Edges on no source-sink path that one hop does not see: `inactive_edges` less `removable_one_hop`. Cost: as `edges`."),
))  # fmt: skip

"""Metrics of liveness: what is dead, and what of that one look at a unit's neighbours would see."""

from __future__ import annotations

import numpy as np

from graphsparse.blocks import KernelBlock
from graphsparse.metrics.edges import entering
from graphsparse.metrics.ends import kernels_of
from graphsparse.metrics.ends import prunable_units as prunable
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric


@metric("liveness", "units")
def units(part: Part) -> Found:
    """Units; of the active part those on a source-sink path. Cost: one sweep in (or, and), shared by this group."""
    return Found.of_units(part, part.units)


@metric("liveness", "units", of="units")
def starved(part: Part) -> Found:
    """Units that no source reaches (docs/semantics.md, Terms). Cost: that of `units`."""
    return Found.of_units(part, part.units & ~part.swept.liveness.signal)


@metric("liveness", "units", of="units")
def stranded(part: Part) -> Found:
    """Units that reach no sink. Cost: that of `units`."""
    return Found.of_units(part, part.units & ~part.swept.liveness.reaches)


@metric("liveness", "units", of="units")
def constant(part: Part) -> Found:
    """Units that hold a number other than zero that no input moves. Cost: that of `units`."""
    found = part.swept.liveness
    return Found.of_units(part, part.units & found.nonzero & ~found.signal)


@metric("liveness", "units")
def prunable_units(part: Part) -> Found:
    """Units at an end of at least one prunable connection, kept or dropped; the same for both parts. Cost: one sweep."""
    return Found.of_units(part, prunable(part.graph))


@metric("liveness", "units", of="prunable_units")
def connected_units(part: Part) -> Found:
    """Units with at least one connection of the part, wires left out.

    Over `prunable_units` it is the active neuron post-percolation rate (ANP) of Zhang et al. (2024, Cannistraci-Hebb
    training); their code looks at what is kept, not at what is active. Cost: one sweep.
    """
    return Found.of_units(part, part.joined)


@metric("liveness", "connections")
def connections(part: Part) -> Found:
    """Entries of prunable kernels, each parameter once. Cost: none."""
    return Found.of_parameters({name: float(mask.size) for name, mask in part.masks.items()})


@metric("liveness", "connections", of="connections")
def remaining(part: Part) -> Found:
    """Connections of the part: those kept, those active (Vysogorets and Kempe 2023). Cost: that of `units`."""
    return Found.of_parameters({name: float(mask.count()) for name, mask in part.masks.items()})


@metric("liveness", "rows")
def rows(part: Part) -> Found:
    """Rows of kernels: output features and channels. Cost: a pass over the masks."""
    return _lines(part, 0, every=True)


@metric("liveness", "rows", of="rows")
def dead_rows(part: Part) -> Found:
    """Rows of kernels without a connection of the part: entries of the mask are looked at, never sums. Cost: as `rows`."""
    return _lines(part, 0, every=False)


@metric("liveness", "columns")
def columns(part: Part) -> Found:
    """Columns of kernels: input features, or input channels with all their taps. Cost: a pass over the masks."""
    return _lines(part, 1, every=True)


@metric("liveness", "columns", of="columns")
def dead_columns(part: Part) -> Found:
    """Columns of kernels (input features or channels) without a connection of the part. Cost: as `columns`."""
    return _lines(part, 1, every=False)


def _lines(part: Part, axis: int, every: bool) -> Found:
    """How many rows (axis 0) or input channels (axis 1) kernels have, or have without a connection; each kernel once."""
    values = dict.fromkeys(part.graph.shapes, 0.0)
    for name, mask in part.masks.items():
        for kernel in kernels_of(part.graph, name, mask.unpack().reshape(-1)):
            alive = kernel.any((2, 3) if axis == 0 else (1, 3))
            values[name] += float(alive.size if every else np.count_nonzero(~alive))
    return Found.of_parameters(values)


@metric("liveness", "channels")
def channels(part: Part) -> Found:
    """Output channels and features of kernels by the layer that they make, each with all its positions; the same for both
    parts. Cost: a pass over the units."""
    return _of_channels(part, every=True)


@metric("liveness", "channels", of="channels")
def dead_channels(part: Part) -> Found:
    """Channels of which no unit, at any position, lies on a source-sink path; the same for both parts. Cost: as `units`."""
    return _of_channels(part, every=False)


def _of_channels(part: Part, every: bool) -> Found:
    """Counts by layer; rows of several kernels that are added to the same units are one channel."""
    counts, live = [], np.append(part.swept.live, [False, False])  # negative ids are no units
    for layer in part.graph.layers:
        blocks = [b.targets.reshape(-1, b.targets.shape[-1]) for b in layer.blocks if isinstance(b, KernelBlock)]
        channels: dict[int, bool] = {}
        for block in (block for block in blocks if block.size):
            channels.update(zip(block[:, 0].tolist(), live[block].any(1).tolist(), strict=True))
        counts.append(len(channels) - (0 if every else sum(channels.values())))
    return Found(float(sum(counts)), np.asarray(counts, float))


@metric("one hop", "edges")
def edges(part: Part) -> Found:
    """Edges of the graph by the layer of their target: connections at each position and wires; parallel ones are one.

    Cost: the csr matrix, 5 bytes per edge.
    """
    return Found.of_units(part, part.in_degrees)


@metric("one hop", "units", of="units")
def no_output_edge(part: Part) -> Found:
    """Units with an edge in, none out, and no sinks themselves: "sink units" of Cunegatti et al. 2024. Cost: as `edges`."""
    return Found.of_units(part, part.once(_lacking, "out"))


@metric("one hop", "units", of="units")
def no_input_edge(part: Part) -> Found:
    """Units with an edge out, none in, and no sources themselves: "source units" of Cunegatti et al. Cost: as `edges`."""
    return Found.of_units(part, part.once(_lacking, "in"))


@metric("one hop", "units", of="units")
def disconnected(part: Part) -> Found:
    """Units of the part without any edge (Cunegatti et al. 2024). Cost: as `edges`."""
    return Found.of_units(part, part.units & (part.in_degrees == 0) & (part.out_degrees == 0))


@metric("one hop", "edges", of="edges")
def removable_in(part: Part) -> Found:
    """Edges into units that have none out: "removable in-connections" of Cunegatti et al. 2024, one step alone.

    Their code's filters are off by one unit; these are not. Cost: as `edges`.
    """
    return Found.of_units(part, np.where(part.once(_lacking, "out"), part.in_degrees, 0))


@metric("one hop", "edges", of="edges")
def removable_out(part: Part) -> Found:
    """Edges out of units that have none in: "removable out-connections" of Cunegatti et al. 2024. Cost: as `edges`."""
    return Found.of_units(part, np.where(part.once(_lacking, "in"), part.out_degrees, 0))


@metric("one hop", "edges", of="edges")
def removable_one_hop(part: Part) -> Found:
    """Edges that are removable in either way, each once, by the layer of their target. Cost: as `edges`."""
    return Found.of_units(part, part.once(_removable))


@metric("one hop", "edges", of="edges")
def inactive_edges(part: Part) -> Found:
    """Edges of the part on no source-sink path, by the layer of their target. Cost: as `edges`."""
    return Found.of_units(part, part.once(_inactive))


@metric("one hop", "edges")
def inactive_beyond_one_hop(part: Part) -> Found:
    """Edges on no source-sink path that one hop does not see: `inactive_edges` less `removable_one_hop`. Cost: as `edges`."""
    return Found.of_units(part, part.once(_inactive) - part.once(_removable))


def _lacking(part: Part, direction: str) -> np.ndarray:
    """Which units lack edges in one direction, and have some in the other; ends of the graph, which need none, left out."""
    other = "out" if direction == "in" else "in"
    return part.inner(direction) & (part.degrees(direction) == 0) & (part.degrees(other) > 0)


def _inactive(part: Part) -> np.ndarray:
    return part.in_degrees - part.swept.in_degrees["active"]


def _removable(part: Part) -> np.ndarray:
    """How many removable edges enter each unit: all where it ends here, else those from units that begin here."""
    from_beginnings = entering(part.edges[np.flatnonzero(part.once(_lacking, "in"))])
    return np.where(part.once(_lacking, "out"), part.in_degrees, from_beginnings)

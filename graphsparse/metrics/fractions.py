"""Counts as fractions, with the denominator in the name: those whose two counts stand in different files, or need few words."""

from __future__ import annotations

from graphsparse.metrics.bridges import articulation_points, bridges, largest_component
from graphsparse.metrics.degrees import hubs
from graphsparse.metrics.fragility import (
    most_lost_by_a_unit,
    most_lost_by_an_edge,
    unavoidable_edges,
    unavoidable_units,
)
from graphsparse.metrics.liveness import (
    columns,
    connections,
    disconnected,
    edges,
    no_input_edge,
    no_output_edge,
    remaining,
    removable_in,
    removable_one_hop,
    removable_out,
    units,
)
from graphsparse.metrics.paths import effective_channels, effective_nodes
from graphsparse.metrics.reasons import acting_nowhere
from graphsparse.metrics.regrowth import beyond_revival, dead, dropped
from graphsparse.metrics.table import fraction

OF_UNITS = (
    no_output_edge, no_input_edge, disconnected, effective_nodes, hubs, unavoidable_units, largest_component,
    articulation_points,
)  # fmt: skip
OF_EDGES = (
    removable_in, removable_out, removable_one_hop, unavoidable_edges, most_lost_by_a_unit, most_lost_by_an_edge, bridges,
)  # fmt: skip
ROWS = (
    *(fraction(count, units) for count in OF_UNITS),
    *(fraction(count, edges) for count in OF_EDGES),
    *(fraction(count, connections) for count in (dropped, dead, beyond_revival)),
    fraction(acting_nowhere, remaining),
    fraction(effective_channels, columns),
)

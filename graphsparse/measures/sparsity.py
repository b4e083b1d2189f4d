"""Direct and effective sparsity, in total and by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.tables import Rows, as_frame, table
from graphsparse.sweep import Reach, sweep

if TYPE_CHECKING:
    import pandas

COLUMNS = ("shape", "connections", "kept", "active", "direct", "effective", "units", "starved", "stranded")


@dataclass(frozen=True, eq=False)
class Sparsity:
    """How sparse a network is, counting kernels only.

    ``rows`` holds by parameter: shape, connections, kept, active, direct and effective (sparsities), and of the units that
    it feeds: units, starved (no source reaches them) and stranded (they reach no sink). A unit fed by several parameters
    counts with each. ``unused`` names the parameters that the network never uses, which are not counted.
    ``connected``: whether any path leads from a source to a sink.
    """

    connections: int
    kept: int
    active: int
    rows: Rows
    unused: tuple[str, ...] = ()
    connected: bool = True

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """A row per parameter."""
        return as_frame(self.rows, COLUMNS)

    @property
    def direct(self) -> float:
        """1 - kept / connections."""
        return sparsity_of(self.kept, self.connections)

    @property
    def effective(self) -> float:
        """1 - active / connections."""
        return sparsity_of(self.active, self.connections)

    @property
    def direct_compression(self) -> float:
        """connections / kept; infinite where nothing is kept."""
        return compression_of(self.kept, self.connections)

    @property
    def effective_compression(self) -> float:
        """connections / active; infinite where nothing is active."""
        return compression_of(self.active, self.connections)

    @cached_property
    def collapsed(self) -> tuple[str, ...]:
        """The parameters with no active connection left."""
        return tuple(name for name, row in self.rows.items() if row["active"] == 0 < row["connections"])

    def __repr__(self) -> str:
        return (
            f"Sparsity(direct={self.direct:.6f} ({self.direct_compression:.1f}x), effective={self.effective:.6f} "
            f"({self.effective_compression:.1f}x), connections={self.connections}, kept={self.kept}, active={self.active})"
        )

    def lines(self) -> tuple[str, str]:
        """The two totals as people read them."""
        return (
            f"direct: {self.kept:,} of {self.connections:,} kept, sparsity {self.direct:.6f}, {self.direct_compression:.1f}x",
            f"effective: {self.active:,} of {self.connections:,} active, sparsity {self.effective:.6f}, "
            f"{self.effective_compression:.1f}x",
        )

    def _repr_html_(self) -> str:
        return table("Sparsity", self.lines(), self.frame)


def sparsity_of(left: int, connections: int) -> float:
    """1 - left / connections; 0 where there are no connections."""
    return 1 - left / connections if connections else 0.0


def compression_of(left: int, connections: int) -> float:
    """connections / left; infinite where nothing is left, 1 where there are no connections."""
    return connections / left if left else inf if connections else 1.0


def sparsity(graph: LayeredGraph) -> Sparsity:
    """Direct and effective sparsity of a graph under its masks.

    Definitions: Vysogorets and Kempe 2023, section 3. Counts are of kernel entries, each parameter once.

    Args:
        graph: as `graphsparse.export` gives it, under the masks that are asked about.

    Returns:
        `Sparsity`: ``.direct``, ``.effective``, both compressions, the counts ``.connections``, ``.kept``, ``.active``,
        and ``.frame`` with a row per parameter.

    Raises:
        GraphsparseError: what is given is no graph.

    Example:
        >>> import torch
        >>> from graphsparse.capture import export
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> sparsity(export(layers, torch.zeros(1, 2), masks))
        Sparsity(direct=0.333333 (1.5x), effective=0.500000 (2.0x), connections=6, kept=4, active=3)
    """
    found = sweep(checked_graph(graph), graph.kept)
    return counted(found, {name: graph.kept[name].count() for name in graph.shapes}, found.count())


def counted(found: Reach, kept: Mapping[str, int], active: Mapping[str, int]) -> Sparsity:
    """The sparsity that a sweep found, by the counts of its connections."""
    graph = found.graph
    rows = {name: _row(found, name, kept[name], active[name]) for name in graph.shapes}
    totals = {column: int(sum(row[column] for row in rows.values())) for column in ("connections", "kept", "active")}
    return Sparsity(**totals, rows=rows, unused=graph.unused, connected=bool(found.signal[graph.sinks].any()))


def _row(found: Reach, name: str, kept: int, active: int) -> dict[str, Any]:
    graph, shape = found.graph, found.graph.shapes[name]
    connections = int(np.prod(shape))
    first, fed = fed_units(graph, name)
    units = slice(first, first + len(fed))
    return {
        "shape": tuple(shape),
        "connections": connections,
        "kept": kept,
        "active": active,
        "direct": sparsity_of(kept, connections),
        "effective": sparsity_of(active, connections),
        "units": int(np.count_nonzero(fed)),
        "starved": int(np.count_nonzero(fed & ~found.signal[units])),
        "stranded": int(np.count_nonzero(fed & ~found.reaches[units])),
    }


def fed_units(graph: LayeredGraph, name: str) -> tuple[int, np.ndarray]:
    """The first unit that a parameter feeds, and for each unit from there to the last whether it does."""
    targets = [block.targets.ravel() for block in graph.kernels[name] if block.targets.size]
    first = min((int(each.min()) for each in targets), default=0)
    last = max((int(each.max()) for each in targets), default=-1)
    fed = np.zeros(last + 1 - first, bool)
    for each in targets:
        fed[each - first] = True
    return first, fed

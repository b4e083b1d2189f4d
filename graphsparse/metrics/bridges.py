"""Bridges, articulation points and components: what holds the graph together if the direction of edges does not matter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from graphsparse.metrics.biconnected import BLOCK, COMPONENT, HELD, SEEN_BLOCKS, TOP, Forest
from graphsparse.metrics.parts import Part, Swept
from graphsparse.metrics.table import Found, metric


@dataclass(frozen=True, eq=False)
class Bridges:
    """``sources`` and ``targets`` (bridges,) are the unit ids of the bridges, the lesser first; ``articulation`` (n_units,)
    marks units; ``sizes`` (components,) are the units of each weak component that has an edge."""

    sources: np.ndarray
    targets: np.ndarray
    articulation: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, edges: sparse.csr_array) -> Bridges:
        """The bridges of a graph (n_units, n_units); 24 bytes per unit beside the csr.

        Example:
            >>> path = sparse.csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], bool))
            >>> found = Bridges.of(path)
            >>> found.sources.tolist(), found.targets.tolist(), found.articulation.tolist(), found.sizes.tolist()
            ([0, 1], [1, 2], [False, True, False], [3])
        """
        forest = Forest.of(edges.shape[0])
        forest.insert(edges)
        return cls.within(forest)

    @classmethod
    def within(cls, forest: Forest) -> Bridges:
        """The bridges of the edges that a forest has seen."""
        table, held = forest.table, forest.table[HELD]
        units = np.flatnonzero(held >= 0)
        units = units[table[BLOCK, held[units]] == -1]  # those below a block of a single edge
        above = table[TOP, held[units]]
        roots = np.flatnonzero(table[BLOCK, : table[SEEN_BLOCKS, -1]] < 0)
        below = np.bincount(table[TOP, roots], minlength=forest.n_units)
        articulation = below + (held[: forest.n_units] >= 0) > 1  # in two blocks or more
        sizes = -table[COMPONENT, table[COMPONENT] < -1]
        return cls(np.minimum(units, above), np.maximum(units, above), articulation, sizes)


@metric("fragility", "components")
def components(part: Part) -> Found:
    """Weak components of the part's units that have an edge (Cunegatti et al. 2024 count units without edges too: add
    `disconnected`). Cost: as `bridges`, shared."""
    return Found(float(len(_bridges(part).sizes)))


@metric("fragility", "units", of="units")
def largest_component(part: Part) -> Found:
    """Units of the largest weak component that has an edge, 0 where there are no edges. Cost: as `bridges`, shared."""
    return Found(float(_bridges(part).sizes.max(initial=0)))


@metric("fragility", "edges", of="edges")
def bridges(part: Part) -> Found:
    """Edges whose loss splits a weak component ("cut edges" of Cunegatti et al. 2024), by the layer of their target.

    Directions do not matter here; `unavoidable_edges` are those that every source-sink path needs. Cost: a pass over the
    edges of each part, 24 bytes per unit.
    """
    return Found.of_units(part, np.bincount(_bridges(part).targets, minlength=part.graph.n_units))


@metric("fragility", "units", of="units")
def articulation_points(part: Part) -> Found:
    """Units whose loss splits a weak component ("cut nodes" of Cunegatti et al. 2024). Cost: as `bridges`, shared."""
    return Found.of_units(part, _bridges(part).articulation)


def _bridges(part: Part) -> Bridges:
    return part.swept.once(_of_parts)[part.name]


def _of_parts(swept: Swept) -> dict[str, Bridges]:
    """The active edges come first, for all of them are kept; then the rows that have others, which are few."""
    forest, edges = Forest.of(swept.graph.n_units), swept.edges
    forest.insert(edges["active"])
    active = Bridges.within(forest)
    forest.insert(edges["kept"], np.flatnonzero(np.diff(edges["kept"].indptr) != np.diff(edges["active"].indptr)))
    return {"active": active, "kept": Bridges.within(forest)}

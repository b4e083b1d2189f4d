"""Metrics of the regular subgraphs of a parameter's bipartite graph: how far from Ramanujan they are in the mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from graphsparse.metrics.encodings import encoded
from graphsparse.metrics.expansion import (
    NO_BOUND,
    NO_EDGES,
    TOO_FEW,
    Expansion,
    average,
    averaged,
    expansion_of,
    gap_of,
    layer_graphs,
    ratio,
)
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric
from graphsparse.metrics.weighted import weights_lacking


@metric("expansion", "subgraphs")
def regular_subgraphs(part: Part) -> Found:
    """Subgraphs of the left units of one degree, 1 or more, with all edges of theirs. Cost: a pass over the edges."""
    return Found.of_parameters({name: float(len(_groups(each))) for name, each in part.once(layer_graphs).items()})


@metric("expansion", "eigenvalue")
def mean_gap_of_regular_subgraphs(part: Part) -> Found:
    """Mean `ramanujan_gap` of the `regular_subgraphs`: IMDB of Hoang et al. (ICLR 2023), over every group of units.

    Right units without an edge in the subgraph are left out. In all the mean over parameters. Cost: `first_eigenvalue` of
    each subgraph.
    """
    return _means(part, lambda each: each.gap, False, NO_EDGES)


@metric("expansion", "ratio")
def mean_normalised_gap_of_regular_subgraphs(part: Part) -> Found:
    """Mean of gap / bound over the `regular_subgraphs` whose bound is not 0. Cost: as `mean_gap_of_regular_subgraphs`."""
    return _means(part, ratio, False, NO_BOUND)


@metric("expansion", "eigenvalue")
def published_mean_gap_of_regular_subgraphs(part: Part) -> Found:
    """IMDB as published code has it: over the subgraphs alone whose mean degrees are both 3 or more.

    That of Hoang et al. also asks for 3 units, that of Cunegatti et al. for a left degree of 3 (and normalises): both
    follow. Undefined where no subgraph is left. Cost: as `mean_gap_of_regular_subgraphs`.
    """
    return _means(part, lambda each: each.gap, True, TOO_FEW)


@metric("expansion", "weight")
def mean_weighted_gap_of_regular_subgraphs(part: Part) -> Found:
    """Mean weighted spectral gap of the `regular_subgraphs` (iterated; Hoang et al., NeurIPS 2023), over every group.

    In all the mean over parameters. Cost: `weighted_spectral_gap` of each subgraph.
    """
    return _weighted_means(part, False)


@metric("expansion", "weight")
def published_mean_weighted_gap_of_regular_subgraphs(part: Part) -> Found:
    """The same over the groups of `published_mean_gap_of_regular_subgraphs` alone. Cost: as the row before."""
    return _weighted_means(part, True)


def _groups(biadjacency: sparse.csr_array) -> list[np.ndarray]:
    """The left units of each degree, 1 or more."""
    degrees = np.diff(biadjacency.indptr)
    return [np.flatnonzero(degrees == degree) for degree in np.unique(degrees[degrees > 0])]


def _regular(part: Part) -> dict[str, list[tuple[np.ndarray, Expansion]]]:
    """The left units of each regular subgraph, and its expansion."""
    found = {}
    for name, graph in part.once(layer_graphs).items():
        expansions = [(units, expansion_of(graph[units])) for units in _groups(graph)]
        found[name] = [(units, each) for units, each in expansions if each is not None]
    return found


def _means(part: Part, value: Callable[[Expansion], float], published: bool, reason: str) -> Found:
    """The mean of a value over the regular subgraphs of each parameter."""
    values = {
        name: average([value(each) for _, each in groups if each.published or not published])
        for name, groups in part.once(_regular).items()
    }
    return averaged(values, reason)


def _weighted_regular(part: Part) -> dict[str, list[tuple[bool, float]]]:
    """Of each regular subgraph whether the published code has it, and its weighted spectral gap."""
    found = {}
    for name, groups in part.once(_regular).items():
        graph = encoded(part, name, part.swept.encoding, weighted=True)
        found[name] = [(each.published, gap_of(graph[units])) for units, each in groups]
    return found


def _weighted_means(part: Part, published: bool) -> Found:
    lacking = weights_lacking(part)
    if lacking:
        return averaged(dict.fromkeys(part.graph.shapes, np.nan), lacking)
    values = {
        name: average([gap for known, gap in groups if known or not published])
        for name, groups in part.once(_weighted_regular).items()
    }
    return averaged(values, TOO_FEW if published else NO_EDGES)

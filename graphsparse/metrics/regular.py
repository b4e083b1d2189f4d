"""Metrics of the regular subgraphs of a parameter's bipartite graph: how far from Ramanujan they are in the mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from graphsparse.metrics.encodings import layer_graphs, without_weights
from graphsparse.metrics.expansion import NO_BOUND, NO_EDGES, TOO_FEW, Expansion, expansion_of
from graphsparse.metrics.parts import Part
from graphsparse.metrics.table import Found, metric


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
    return _means(part, lambda each: each.gap, NO_EDGES)


@metric("expansion", "ratio")
def mean_normalised_gap_of_regular_subgraphs(part: Part) -> Found:
    """Mean of gap / bound over the `regular_subgraphs` whose bound is not 0. Cost: as `mean_gap_of_regular_subgraphs`."""
    return _means(part, lambda each: each.normalised_gap, NO_BOUND)


@metric("expansion", "eigenvalue")
def published_mean_gap_of_regular_subgraphs(part: Part) -> Found:
    """IMDB as published code has it: over the subgraphs alone whose mean degrees are both 3 or more.

    That of Hoang et al. also asks for 3 units, that of Cunegatti et al. for a left degree of 3 (and normalises): both
    follow. Undefined where no subgraph is left. Cost: as `mean_gap_of_regular_subgraphs`.
    """
    return _means(part, lambda each: each.gap if each.published else np.nan, TOO_FEW)


@metric("expansion", "weight")
def mean_weighted_gap_of_regular_subgraphs(part: Part) -> Found:
    """Mean weighted spectral gap of the `regular_subgraphs` (iterated; Hoang et al., NeurIPS 2023), over every group.

    In all the mean over parameters. Cost: `weighted_spectral_gap` of each subgraph.
    """
    return without_weights(part) or _means(part, lambda each: each.spectral_gap, NO_EDGES, weighted=True)


@metric("expansion", "weight")
def published_mean_weighted_gap_of_regular_subgraphs(part: Part) -> Found:
    """The same over the groups of `published_mean_gap_of_regular_subgraphs` alone. Cost: as the row before."""
    gap = lambda each: each.spectral_gap if each.published else np.nan
    return without_weights(part) or _means(part, gap, TOO_FEW, weighted=True)


def _groups(biadjacency: sparse.csr_array) -> list[np.ndarray]:
    """The left units of each degree, 1 or more."""
    degrees = np.diff(biadjacency.indptr)
    return [np.flatnonzero(degrees == degree) for degree in np.unique(degrees[degrees > 0])]


def _regular(part: Part, weighted: bool) -> dict[str, list[Expansion]]:
    """The expansion of each regular subgraph; with ``weighted`` its eigenvalues are those of absolute weights."""
    found = {}
    for name, graph in part.once(layer_graphs, weighted).items():
        found[name] = [each for units in _groups(graph) if (each := expansion_of(graph[units])) is not None]
    return found


def _means(part: Part, value: Callable[[Expansion], float], reason: str, weighted: bool = False) -> Found:
    """The mean of a value over the regular subgraphs of each parameter, of those where it is defined."""
    values = {}
    for name, found in part.once(_regular, weighted).items():
        defined = [each for each in map(value, found) if not np.isnan(each)]
        values[name] = float(np.mean(defined)) if defined else np.nan
    return Found.over_parameters(values, np.mean, reason)

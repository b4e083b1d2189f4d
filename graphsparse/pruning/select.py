"""Keep the connections of a ranking up to a direct or an effective target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphsparse.arrays import as_number
from graphsparse.errors import TargetError
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.selection import nth_greatest
from graphsparse.kernels.threads import each
from graphsparse.passes.scores import effective_scores
from graphsparse.pruning.rounds import flat, least, shaped


def wanted_connections(graph: LayeredGraph, sparsity: float | None, compression: float | None) -> int:
    """How many connections a target leaves: the fewest that do not go beyond it."""
    if (sparsity is None) == (compression is None):
        raise TargetError(
            "a target must be a sparsity or a compression, one of them",
            received="neither" if sparsity is None else f"sparsity {sparsity} and compression {compression}",
            way_out="give sparsity= or compression=",
        )
    if sparsity is not None and not 0 <= as_number("sparsity", sparsity, 0.9) < 1:
        raise TargetError("a sparsity must be from 0 to below 1", received=sparsity)
    if compression is not None and not 1 <= as_number("compression", compression, 10) < np.inf:
        raise TargetError("a compression must be 1 or more, and finite", received=compression)
    density = 1 - float(sparsity) if sparsity is not None else 1 / float(compression or 1)
    return max(1, int(np.ceil(density * graph.n_connections - 1e-6)))


def asked(sparsity: float | None, compression: float | None) -> str:
    """A target in the words in which it was given."""
    return f"sparsity {float(sparsity or 0):.12g}" if compression is None else f"compression {float(compression):,.12g}"


def active_at(
    graph: LayeredGraph, scores: Mapping[str, np.ndarray], wanted: int, target: str | None = None
) -> tuple[dict[str, np.ndarray], np.floating]:
    """The highest threshold at which at least ``wanted`` connections are active, and their masks: nothing dead in them.

    Connections whose effective scores are equal come alive together, so the count is exact to such a group. ``target``
    is what was asked for, in words.

    Raises:
        TargetError: fewer are active even with everything kept; or so few are wanted that the network would already be
            disconnected, and the text names the highest compression that can be reached.
    """
    effective = effective_scores(graph, scores)
    arrays, total = list(effective.values()), graph.n_connections
    threshold = nth_greatest(arrays, min(wanted, total))
    if threshold == -np.inf:  # what is never active came into the count
        alive = sum(int(np.count_nonzero(array > -np.inf)) for array in arrays)
        raise TargetError(
            "a target must not be below the sparsity that is there already",
            received=target or f"{wanted:,} active connections wanted",
            way_out=f"at most {alive:,} of {total:,} can be active",
        )
    masks = each(lambda array: array >= threshold, arrays, sum(array.nbytes for array in arrays))
    active = sum(int(np.count_nonzero(mask)) for mask in masks)
    if active > wanted and not any((array > threshold).any() for array in arrays):
        raise TargetError(
            "the network must stay connected until the target is reached",
            received=target or f"compression {total / wanted:,.1f}",
            way_out=f"the highest effective compression of this ranking is {total / active:,.1f} "
            f"({active:,} connections)",
        )
    return dict(zip(effective, masks)), threshold


def keep_direct(graph: LayeredGraph, scores: Mapping[str, np.ndarray], wanted: int) -> dict[str, np.ndarray]:
    """The ``wanted`` best connections; of equal scores the earlier one, by the order of parameters and then of entries."""
    row = flat(np.where(graph.kept[name].unpack(), scores[name], -np.inf) for name in graph.shapes)
    if int(np.count_nonzero(row > -np.inf)) < wanted:
        raise TargetError(
            "a target must not be below the sparsity that is there already", received=f"{wanted:,} connections wanted"
        )
    return shaped(~least(row, row.size - wanted), graph.shapes)

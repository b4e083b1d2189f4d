"""What is effective, as torch tensors: masks and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.passes import scores
from graphsparse.passes.liveness import active_connections


def effective_masks(graph: LayeredGraph) -> dict[str, torch.Tensor]:
    """The active connections of every parameter: ``{name: bool tensor}`` in the parameter's shape, on the CPU.

    A connection is active if it is kept and lies on a path from a source to a sink (Vysogorets and Kempe 2023, section
    3). Applying it twice changes nothing.

    Example:
        >>> import torch, graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> graph = gs.export(layers, torch.zeros(1, 2), masks)
        >>> effective_masks(graph)["0.weight"].tolist()
        [[True, True], [False, False]]
    """
    return {name: torch.from_numpy(active) for name, active in active_connections(checked_graph(graph)).items()}


def effective_scores(graph: LayeredGraph, ranking: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """For every connection the highest threshold at which it is active.

    Among the connections with score >= t exactly those are active whose effective score is >= t.

    Args:
        graph: as `graphsparse.export` gives it; what its masks drop is never active.
        ranking: ``{parameter name: tensor or array}`` in the parameters' shapes, greater is kept longer. Kernels without
            scores are always kept.

    Returns:
        ``{parameter name: tensor}`` in the parameters' shapes; minus infinity where a connection is never active.

    Raises:
        MaskError: a score is NaN, or its shape or name does not fit.

    Example:
        >>> import graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(2, 1, bias=False), torch.zeros(1, 2), {})
        >>> effective_scores(graph, {"weight": [[0.5, 2.0]]})["weight"].tolist()
        [[0.5, 2.0]]
    """
    found = scores.effective_scores(graph, ranking)
    return {name: torch.from_numpy(array) for name, array in found.items()}

"""Effective masks as torch tensors."""

from __future__ import annotations

import torch

from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.passes.liveness import active_connections


def effective_masks(graph: LayeredGraph) -> dict[str, torch.Tensor]:
    """The active connections of every parameter: ``{name: bool tensor}`` in the parameter's shape, on the CPU.

    A connection is active if it is kept and lies on a path from a source to a sink (Vysogorets and Kempe 2023, section
    3). Applying it twice changes nothing.

    Example:
        >>> import graphsparse as gs
        >>> layers = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
        >>> masks = {"0.weight": [[True, True], [False, True]], "1.weight": [[True, False]]}
        >>> effective_masks(gs.export(layers, torch.zeros(1, 2), masks))["0.weight"]
        tensor([[ True,  True],
                [False, False]])
    """
    return {name: torch.from_numpy(active) for name, active in active_connections(checked_graph(graph)).items()}

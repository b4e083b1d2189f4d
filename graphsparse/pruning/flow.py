"""The signals of synaptic flow: non-negative tensors with a scale of their own.

SynFlow scores a weight by its part in R = 1' |W_L| ... |W_1| 1. This number leaves the range of float32 on any deep
network, and that of float64 on a very deep one. So an activation is held as a tensor of greatest entry 1 and the logarithm
of its true scale; sums bring their operands to one scale first. R is homogeneous in the activations of each layer, so the
gradients of the rescaled R are the true ones times one factor, common to all weights. They are of moderate size: over each
layer activation times gradient adds up to R (Tanaka et al., NeurIPS 2020, theorem 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.values import Known


@dataclass(frozen=True, eq=False)
class Flow:
    """A non-negative signal; the true values are ``value * exp(scale)``."""

    value: torch.Tensor
    scale: float = 0.0

    def rescaled(self) -> Flow:
        """The same signal with greatest entry 1, unless it is zero everywhere."""
        peak = self.value.detach().amax() if self.value.numel() else self.value.new_zeros(())
        if not bool(peak > 0):
            return self
        return Flow(self.value / peak, self.scale + float(peak.log()))


@dataclass(frozen=True, eq=False)
class Call:
    """An operation of the program as a rule sees it; ``in_norm``: it stands in a normalisation."""

    target: Any
    shape: torch.Size
    in_norm: bool


Rule = Callable[..., Any]


def total(flows: list[Flow]) -> torch.Tensor:
    """The sum over all entries of all signals, on the greatest scale among them."""
    top = max((flow.scale for flow in flows), default=0.0)
    return sum((flow.value.sum() * _exp(flow.scale - top) for flow in flows), torch.zeros(()))


def aligned(values: Any) -> tuple[Any, float]:
    """Plain tensors of all signals in a structure, brought to one scale, and that scale; constants become zero."""
    flows = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Flow) and bool(leaf.value.detach().any())]
    top = max((flow.scale for flow in flows), default=0.0)

    def plain(leaf: Any) -> Any:
        if isinstance(leaf, Flow):
            return leaf.value * _exp(min(leaf.scale - top, 0.0))
        if isinstance(leaf, Known):
            return leaf.tensor
        return torch.zeros_like(leaf) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    return tree_map(plain, values), top


def _exp(log: float) -> float:
    return float(torch.tensor(log, dtype=torch.float64).exp())

"""Whether outputs really do not see what the graph calls unseen: wild numbers there must change nothing.

The graph takes what a comparison computes as a constant (docs/semantics.md), so a unit that only a comparison reads counts
as unseen. A small change of it may seldom show; a wild one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from graphsparse.compaction.cut import Cut
from graphsparse.compaction.plan import Plan
from graphsparse.compaction.tensors import remade

Lines = Mapping[str, tuple[int, np.ndarray]]
"""Of some tensors, by name, an axis and indices along it."""
SCALES = (30.0, -30.0, 1e4, -1e4)
"""How wild: small ones meet what saturates, large ones reach far levels; the same numbers of either sign."""


def unseen_rows(plan: Plan, cut: Cut) -> dict[str, tuple[int, np.ndarray]]:
    """The rows of kernels that leave and that no output sees, though they are not zero.

    A zero is the same for every comparison; and two of them may hide each other, as the two sides of a gate do.
    """
    seen = np.append(np.zeros(plan.bundles.count, bool), True)
    for use, each in zip(plan.kernels, plan.life.seen, strict=True):
        seen[use.rows[each]] = True
    found: dict[str, tuple[int, np.ndarray]] = {}
    for use, filled in zip(plan.kernels, plan.life.filled, strict=True):
        rows = next((one for one in use.axes if np.array_equal(one.bundles.ravel(), use.rows.ravel())), None)
        if rows is not None:
            at = rows.at[~(seen | cut.stays)[rows.bundles].any(0) & filled.reshape(rows.bundles.shape).any(0)]
            axis, before = found.get(use.name, (rows.axis, at))
            found[use.name] = axis, np.intersect1d(before, at) if axis == rows.axis else at[:0]  # a tied table
    return {name: (axis, at) for name, (axis, at) in found.items() if len(at)}


def shaken(model: nn.Module, lines: Lines) -> Iterator[nn.Module]:
    """Copies of a model with wild numbers in these lines."""
    for scale in SCALES:
        generator = torch.Generator().manual_seed(0)

        def wild(
            name: str, tensor: torch.Tensor, scale: float = scale, generator: torch.Generator = generator
        ) -> torch.Tensor:
            made = tensor.clone()
            if name in lines:
                axis, at = lines[name]
                part = made.movedim(axis, 0)
                noise = torch.randn(part[at].shape, generator=generator, dtype=torch.float64)
                part[at] = (scale * noise).to(made.dtype).to(made.device)
            return made

        yield remade(model, wild)

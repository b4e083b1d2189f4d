"""Connections that outputs see though no path leads there.

A value that is only compared, an index that the model computes, the norm of a kernel that its own entries make: none of
these is a path (docs/semantics.md), but a model computes something else without them. A trial shows which parameters have
such connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from graphsparse.surgery.checking import Inputs, run, worst_difference
from graphsparse.surgery.constants import Folding

SAME = 1e-8  # relative, of outputs in double precision


@torch.no_grad()
def needed(
    model: nn.Module, inputs: Sequence[Inputs], inactive: Mapping[str, torch.Tensor], folding: Folding
) -> dict[str, torch.Tensor]:
    """The connections that must stay, since outputs change without those of their parameter.

    ``model`` is a plain float64 copy with its present masks applied, ``inactive`` what is to leave it, by parameter; what
    ``folding`` keeps stays.
    """
    dropped = {name: mask & ~folding.keep.get(name, torch.tensor(False)) for name, mask in inactive.items()}
    try:
        expected = [run(model, given) for given in inputs]
    except RuntimeError:  # operations that have no form in double precision
        return {}

    def same(names: Iterable[str]) -> bool:
        with _without(model, {name: dropped[name] for name in names}, folding):
            return worst_difference(model, expected, list(inputs))[0] <= SAME

    if same(dropped):
        return {}
    seen = {name: mask for name, mask in dropped.items() if not same([name])}
    return seen if seen and same(dropped.keys() - seen.keys()) else dropped


@contextmanager
def _without(model: nn.Module, dropped: Mapping[str, torch.Tensor], folding: Folding) -> Iterator[None]:
    """The model without these connections, their constants in the biases that take them over."""
    held = dict(model.named_parameters())
    takers = {folding.takers[name] for name in dropped if name in folding.takers}
    changed = {held[name]: held[name].masked_fill(mask.to(held[name].device), 0.0) for name, mask in dropped.items()}
    changed |= {held[name]: held[name] + folding.biases[name].to(held[name].device) for name in takers}
    before = {parameter: parameter.clone() for parameter in changed}
    try:
        for parameter, value in changed.items():
            parameter.copy_(value)
        yield
    finally:
        for parameter, value in before.items():
            parameter.copy_(value)

"""Models made of the tensors of another one: masked, in double precision, with wild numbers, or cut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from graphsparse.capture.parameters import separate, unmasked
from graphsparse.graph import LayeredGraph
from graphsparse.networks.models import named_tensors

Lines = Mapping[str, tuple[int, np.ndarray]]
"""Of some tensors, by name, an axis and indices along it."""
SCALES = (30.0, -30.0, 1e4, -1e4)
"""How wild: small ones meet what saturates, large ones reach far levels; the same numbers of either sign."""
Index = Mapping[str, tuple[torch.Tensor, ...]]
"""The indices that stay of each axis, by the name of a tensor."""


def remade(model: nn.Module, change: Callable[[str, torch.Tensor], torch.Tensor]) -> nn.Module:
    """A copy of a model whose tensors are ``change(name, tensor)``; what is tied stays tied."""
    memo: dict[int, Any] = {}
    for name, tensor in named_tensors(model):
        if id(tensor) not in memo:
            made = change(name, tensor.detach())
            grad = tensor.requires_grad and made.is_floating_point()
            memo[id(tensor)] = nn.Parameter(made, grad) if isinstance(tensor, nn.Parameter) else made
    return copy.deepcopy(model, memo)


def masked_twin(model: nn.Module, graph: LayeredGraph) -> nn.Module:
    """A plain copy with memory of its own. Its weights are zero where masks drop them; each use has its own mask."""
    twin = unmasked(model).model
    keys = {use.name: key for key, use in graph.uses.items()}
    own = {name: keys[use] for name, use in separate(twin, keys).items()}

    def masked(name: str, tensor: torch.Tensor) -> torch.Tensor:
        first = graph.aliases.get(name, name)
        mask = graph.kept.get(own.get(name, first))
        if mask is None or not (name in own or first in graph.shapes or mask is graph.masks.get(name)):
            return tensor.clone()
        keep = torch.from_numpy(mask.unpack()).to(tensor.device)
        return torch.where(keep, tensor, torch.zeros((), dtype=tensor.dtype, device=tensor.device))

    return remade(twin, masked)


def in_double(model: nn.Module) -> nn.Module:
    """A copy in double precision and evaluation mode."""
    return remade(model, lambda _, tensor: tensor.double() if tensor.is_floating_point() else tensor.clone()).eval()


def shaken(model: nn.Module, lines: Lines) -> Iterator[nn.Module]:
    """Copies of a model with wild numbers in these lines: if outputs do not see them, they stay as they are.

    The graph takes what a comparison computes as a constant (docs/semantics.md), so a unit that only a comparison reads
    counts as unseen. A small change of it may seldom show; a wild one does.
    """
    for scale in SCALES:
        generator = torch.Generator().manual_seed(0)

        def wild(name: str, tensor: torch.Tensor) -> torch.Tensor:
            made = tensor.clone()
            if name in lines:
                axis, at = lines[name]
                part = made.movedim(axis, 0)
                noise = torch.randn(part[at].shape, generator=generator, dtype=torch.float64)
                part[at] = (scale * noise).to(made.dtype).to(made.device)
            return made

        yield remade(model, wild)


def taken(tensor: torch.Tensor, index: tuple[torch.Tensor, ...] | None) -> torch.Tensor:
    """The part of a tensor that stays."""
    for axis, at in enumerate(index or ()):
        if len(at) < tensor.shape[axis]:
            tensor = tensor.index_select(axis, at.to(tensor.device))
    return tensor


def with_constants(bias: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """A bias and constants in one number each, of the bias's own type. Subnormal ones become zero: they slow processors."""
    total = (bias.double() + amount.to(bias.device)).to(bias.dtype)
    return torch.where(total.abs() < torch.finfo(total.dtype).tiny, 0, total)


def copy_modes(source: nn.Module, target: nn.Module) -> None:
    """Put each module into training or evaluation as the module of the same path is."""
    modes = {path: module.training for path, module in source.named_modules()}
    for path, module in target.named_modules():
        module.training = modes.get(path, module.training)


def put_back(tensor: torch.Tensor, whole: torch.Tensor, index: tuple[torch.Tensor, ...] | None) -> torch.Tensor:
    """The inverse of `taken`: a copy of ``whole`` with the tensor where it was taken from."""
    if not index:
        return tensor.clone()
    result = whole.clone()
    result[torch.meshgrid(*(at.to(whole.device) for at in index), indexing="ij")] = tensor.to(whole.dtype)
    return result

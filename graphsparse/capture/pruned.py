"""Masks that a live model already carries, read off and taken out of a copy so that torch.export can trace it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize


@dataclass(frozen=True, eq=False)
class Plain:
    """A copy of a model without pruning reparametrisations, sharing all tensors, and the masks they held."""

    model: nn.Module
    masks: dict[str, torch.Tensor]


def plain(model: nn.Module) -> Plain:
    """Copy a model's structure, not its tensors, in evaluation mode; the given model is not touched."""
    shared = {id(tensor): tensor for tensor in _tensors(model)}
    twin = copy.deepcopy(model, shared).eval()
    masks: dict[str, torch.Tensor] = {}
    for path, module in list(twin.named_modules()):
        _without_cache(module)
        prefix = f"{path}." if path else ""
        masks.update({prefix + name: mask for name, mask in _strip_hooks(module)})
        masks.update({prefix + name: mask for name, mask in _strip_parametrisations(module)})
    return Plain(twin, masks)


def _without_cache(module: nn.Module) -> None:
    """Keys and values that a decoder hands back for its next token are no outputs of the network, so no sinks."""
    config: Any = getattr(module, "config", None)
    if getattr(config, "use_cache", None) is True:
        config.use_cache = False


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    for module in model.modules():
        yield from (t for t in module._parameters.values() if t is not None)
        yield from (t for t in module._buffers.values() if t is not None)
        yield from (t for t in vars(module).values() if isinstance(t, torch.Tensor))


def _strip_hooks(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """torch.nn.utils.prune: X_orig and X_mask become X again. Its forward hook would stop torch.export."""
    names = [n[: -len("_orig")] for n in module._parameters if n.endswith("_orig")]
    for name in [n for n in names if f"{n}_mask" in module._buffers]:
        mask, original = module._buffers.pop(f"{name}_mask"), module._parameters.pop(f"{name}_orig")
        assert mask is not None
        vars(module).pop(name, None)
        module.register_parameter(name, original)
        for key, hook in list(module._forward_pre_hooks.items()):
            if getattr(hook, "_tensor_name", None) == name:
                del module._forward_pre_hooks[key]
        yield name, mask != 0


def _strip_parametrisations(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """A parametrisation that holds a buffer `mask` of the tensor's shape is a pruning one: take it out, keep the rest."""
    if not parametrize.is_parametrized(module):
        return
    for name, steps in list(cast(nn.ModuleDict, module.parametrizations).items()):
        original = getattr(steps, "original", None)
        found = [getattr(step, "mask", None) for step in cast(nn.ModuleList, steps)]
        masks = [mask for mask in found if isinstance(mask, torch.Tensor)]
        if original is None or len(masks) < len(found) or any(mask.shape != original.shape for mask in masks):
            continue
        parametrize.remove_parametrizations(module, name, leave_parametrized=False)
        setattr(module, name, original)
        yield name, torch.stack([torch.ne(mask, 0) for mask in masks]).all(0)

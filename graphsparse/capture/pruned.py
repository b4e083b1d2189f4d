"""Masks that a live model already carries, read off and taken out of a copy so that torch.export can trace it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize

from graphsparse.capture.parameters import Parameters, nonzero_entries
from graphsparse.capture.quiet import quiet
from graphsparse.capture.sharing import Shared, shared
from graphsparse.errors import CaptureError
from graphsparse.kernels.masks import Mask


@dataclass(frozen=True, eq=False)
class Unmasked:
    """A copy of a model without pruning reparametrisations, sharing all tensors, and the masks they held.

    ``masks`` hold one for each masked parameter, by its first name; ``uses`` those of the uses that keep less than the
    parameter's mask, by the use's own name: a mask on one of two tied modules is not the other's.
    """

    model: nn.Module
    masks: dict[str, torch.Tensor]
    uses: Mapping[str, Mask]


def unmasked(model: nn.Module) -> Unmasked:
    """Copy a model's structure, not its tensors, in evaluation mode; the given model is not touched.

    Raises:
        MaskError: masks on two modules that share a parameter contradict each other.
        CaptureError: the modules are nested too deeply to be copied.
    """
    twin = _copied(model).eval()
    masks: dict[str, torch.Tensor] = {}
    for path, module in list(twin.named_modules()):
        _without_cache(module)
        prefix = f"{path}." if path else ""
        masks.update({prefix + name: mask for name, mask in _strip_hooks(module)})
        masks.update({prefix + name: mask for name, mask in _strip_parametrisations(module)})
    found = _shared(twin, masks)
    return Unmasked(twin, {name: torch.from_numpy(mask.unpack()) for name, mask in found.masks.items()}, found.uses)


def _copied(model: nn.Module) -> nn.Module:
    try:
        known = {id(tensor): tensor for tensor in _tensors(model)}
        with quiet():  # torch warns of itself where a program's module is copied
            return copy.deepcopy(model, known)
    except RecursionError as error:
        raise CaptureError(
            "a model's modules must be nested less deeply than Python allows calls to be", place=type(model).__name__,
            received=f"a limit of {sys.getrecursionlimit()} calls", way_out="raise it with sys.setrecursionlimit(10000)",
        ) from error  # fmt: skip


def _shared(model: nn.Module, masks: dict[str, torch.Tensor]) -> Shared:
    """The masks by parameter; where only some of its uses are masked, the others keep what is not zero."""
    canonical = Parameters.of_module(model).canonical
    own = {name: Mask.of(mask.cpu().numpy()) for name, mask in masks.items()}
    masked = {canonical[name] for name in own}
    others = {
        name: parameter
        for path, module in model.named_modules()
        for leaf, parameter in module._parameters.items()
        if canonical.get(name := f"{path}.{leaf}" if path else leaf) in masked and name not in own
    }
    patterns = {
        name: Mask.of(nonzero_entries(parameter)) for name, parameter in others.items() if parameter is not None
    }
    return shared({**own, **patterns}, canonical, own)


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
    found = list(parametrised_masks(module))
    if found:
        _with_own_class(module)
    for name, original, masks in found:
        parametrize.remove_parametrizations(module, name, leave_parametrized=False)
        setattr(module, name, original)
        yield name, torch.stack([torch.ne(mask, 0) for mask in masks]).all(0)


def _with_own_class(module: nn.Module) -> None:
    """A copied module shares the class that parametrising made for the original; what is taken out of it is gone from both."""
    kind = type(module)
    content = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(kind.__name__, kind.__bases__, content)


def parametrised_masks(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, list[torch.Tensor]]]:
    """The parameters of a module under pruning parametrisations alone: name, original and the mask of each step.

    A parametrisation that holds a buffer `mask` of the tensor's shape is a pruning one.
    """
    if not parametrize.is_parametrized(module):
        return
    for name, steps in cast(nn.ModuleDict, module.parametrizations).items():
        original = getattr(steps, "original", None)
        found = [getattr(step, "mask", None) for step in cast(nn.ModuleList, steps)]
        masks = [mask for mask in found if isinstance(mask, torch.Tensor)]
        if original is not None and len(masks) == len(found) and all(mask.shape == original.shape for mask in masks):
            yield name, original, masks

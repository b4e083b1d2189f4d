"""What a model holds: its parameters under the graph's names, and the masks that it carries already.

A parameter that several places of a model use goes by its first name. It has one mask, and one for each use that keeps
less of it. Masks are taken out of a copy, so that torch.export can trace it.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from itertools import chain, combinations
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram
from torch.nn.utils import parametrize

from graphsparse.capture.quiet import quiet
from graphsparse.errors import CaptureError
from graphsparse.given_masks import disagreement
from graphsparse.kernels.masks import Mask


@dataclass(frozen=True, eq=False)
class Parameters:
    """``tensors`` by name, one per parameter; ``canonical`` gives every name of a parameter its first one."""

    tensors: Mapping[str, torch.Tensor]
    canonical: Mapping[str, str]
    model_name: str

    @classmethod
    def of(cls, model: nn.Module | ExportedProgram) -> Parameters:
        """Names as in ``model.named_parameters()``, or in a program's state dict, which has all names of tied ones."""
        if isinstance(model, ExportedProgram):
            title, named = "the program", {name: model.state_dict[name] for name in model.graph_signature.parameters}
        else:
            title, named = type(model).__name__, dict(model.named_parameters(remove_duplicate=False))
        canonical = first_names(named)
        return cls({name: t.detach() for name, t in named.items() if canonical[name] == name}, canonical, title)

    def weights_of(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Values as numpy arrays that share memory; bfloat16, which numpy does not have, as float32 copies."""
        known = {name: self.tensors[name] for name in names if name in self.tensors}
        read = {name: _computable(tensor.cpu()) for name, tensor in known.items() if not tensor.is_meta}
        return {name: (each.float() if each.dtype == torch.bfloat16 else each).numpy() for name, each in read.items()}


def nonzero_entries(tensor: torch.Tensor) -> np.ndarray:
    """Which entries are not zero (NaN and infinity are kept); all of them where the values are not known."""
    return np.ones(tuple(tensor.shape), bool) if tensor.is_meta else (_computable(tensor.detach()) != 0).cpu().numpy()


def first_names(named: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """The first name of each tensor, by every name of it: tied tensors are one."""
    first: dict[tuple[Any, ...], str] = {}
    return {name: first.setdefault(_identity(tensor), name) for name, tensor in named.items()}


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Two names are one parameter where memory, shape and type agree; what has no address is one where it is one object."""
    address = 0 if tensor.is_meta else tensor.data_ptr()
    return (address, tuple(tensor.shape), tensor.stride(), tensor.dtype) if address else (id(tensor),)


def _computable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in a type that torch can compare; it does not compare floats of eight bits."""
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


@dataclass(frozen=True, eq=False)
class Unmasked:
    """A copy of a model without pruning reparametrisations, sharing all tensors, and their masks, as in `Shared`."""

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
    masks: dict[str, Mask] = {}
    for path, module in list(twin.named_modules()):
        config: Any = getattr(module, "config", None)
        if getattr(config, "use_cache", None) is True:  # what a decoder keeps for its next token is no output
            config.use_cache = False
        prefix = f"{path}." if path else ""
        found = chain(_strip_hooks(module), _strip_parametrisations(module))
        masks.update({prefix + name: Mask.of(mask.cpu().numpy()) for name, mask in found})
    canonical = first_names(dict(twin.named_parameters(remove_duplicate=False)))
    masked = {canonical[name] for name in masks}
    others = {
        name: parameter
        for path, module in twin.named_modules()
        for leaf, parameter in module._parameters.items()
        if canonical.get(name := f"{path}.{leaf}" if path else leaf) in masked and name not in masks
    }
    patterns = {name: Mask.of(nonzero_entries(each)) for name, each in others.items() if each is not None}
    both = shared({**masks, **patterns}, canonical, masks)
    return Unmasked(twin, {name: torch.from_numpy(mask.unpack()) for name, mask in both.masks.items()}, both.uses)


def _copied(model: nn.Module) -> nn.Module:
    try:
        known = {
            id(value): value
            for each in model.modules()
            for value in chain(each._parameters.values(), each._buffers.values(), vars(each).values())
            if isinstance(value, torch.Tensor)
        }
        with quiet():  # torch warns of itself where a program's module is copied
            return deepcopy(model, known)
    except RecursionError as error:
        raise CaptureError(
            "a model's modules must be nested less deeply than Python allows calls to be", place=type(model).__name__,
            received=f"a limit of {sys.getrecursionlimit()} calls", way_out="raise it with sys.setrecursionlimit(10000)",
        ) from error  # fmt: skip


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
    if found:  # the copy shares the class that parametrising made for the original: what leaves one would leave both
        kind = type(module)
        content = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
        module.__class__ = type(kind.__name__, kind.__bases__, content)
    for name, original, masks in found:
        parametrize.remove_parametrizations(module, name, leave_parametrized=False)
        setattr(module, name, original)
        yield name, torch.stack([torch.ne(mask, 0) for mask in masks]).all(0)


def parametrised_masks(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, list[torch.Tensor]]]:
    """The parameters of a module whose parametrisations all hold a `mask` of their shape: name, original, the masks."""
    if not parametrize.is_parametrized(module):
        return
    for name, steps in cast(nn.ModuleDict, module.parametrizations).items():
        original = getattr(steps, "original", None)
        found = [getattr(step, "mask", None) for step in cast(nn.ModuleList, steps)]
        masks = [mask for mask in found if isinstance(mask, torch.Tensor)]
        if original is not None and len(masks) == len(found) and all(mask.shape == original.shape for mask in masks):
            yield name, original, masks


@dataclass(frozen=True, eq=False)
class Shared:
    """``masks``: one per parameter, by its first name. ``uses``: those of the uses that keep less, by the use's own name."""

    masks: Mapping[str, Mask]
    uses: Mapping[str, Mask]


def shared(masks: Mapping[str, Mask], canonical: Mapping[str, str], given: Container[str]) -> Shared:
    """One mask for each parameter, of masks that a model itself has where it uses the parameter.

    A connection is kept if any use keeps it. A use may keep less than another (a mask on one of two tied modules).

    Args:
        masks: by the name of each use.
        canonical: gives every name of a parameter its first one.
        given: the names whose masks are masks; the others are what is not zero in the weights of an unmasked use.

    Raises:
        MaskError: two uses each keep what the other drops; it names both.
    """
    by_parameter: dict[str, list[str]] = {}
    for name in masks:
        by_parameter.setdefault(canonical.get(name, name), []).append(name)
    whole: dict[str, Mask] = {}
    uses: dict[str, Mask] = {}
    for parameter, names in by_parameter.items():
        for one, other in combinations(names, 2):
            if (one in given) == (other in given) and not _agree(masks[one], masks[other], one in given):
                raise disagreement(one, other)
        whole[parameter] = reduce(Mask.either, (masks[name] for name in names))
        uses.update({name: masks[name] for name in names if not masks[name].same(whole[parameter])})
    return Shared(whole, uses)


def _agree(one: Mask, other: Mask, nested: bool) -> bool:
    """Whether two masks of one parameter are the same; or, ``nested``, whether one keeps all that the other keeps."""
    wider = one.either(other)
    return one.same(other) or nested and (wider.same(one) or wider.same(other))


def separate(model: nn.Module, uses: Iterable[str]) -> dict[str, str]:
    """Give each of these uses a parameter object of its own that shares the memory, so that a capture tells it apart.

    ``model`` is changed: give a copy. Returns, for every name of such a use, the use's name.
    """
    made: dict[int, str] = {}
    for name in uses:
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        tied = module._parameters[leaf]
        assert tied is not None
        alone = nn.Parameter(tied.detach(), tied.requires_grad)
        module._parameters[leaf] = alone
        made[id(alone)] = name
    named = model.named_parameters(remove_duplicate=False)
    return {name: made[id(parameter)] for name, parameter in named if id(parameter) in made}

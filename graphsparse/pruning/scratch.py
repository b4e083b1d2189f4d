"""A private copy of the user's model to compute on, so that the model itself is never touched; and its kernels."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from graphsparse.capture.pruned import unmasked
from graphsparse.capture.quiet import quiet, same_random_state
from graphsparse.errors import MaskError, ModelError
from graphsparse.kernels.masks import Mask

Masks = Mapping[str, "torch.Tensor | np.ndarray"]
Stored = Mapping[str, torch.Tensor]
"""Values of parameters by name, read when they are asked for: those of a model that has none itself."""


@contextmanager
def scratch(model: nn.Module, seed: int, dtype: torch.dtype | None = None) -> Iterator[nn.Module]:
    """Yield a copy of `model` without pruning hooks, in `dtype`; what is done to it stays here, random draws too.

    The copy keeps the model's training mode and buffers. Inside the block gradients are on and torch's, NumPy's and
    Python's global generators start from `seed`; afterwards they are as they were.
    """
    with own_random_state(seed), torch.enable_grad():
        yield plain_copy(model).to(dtype)


def plain_copy(model: nn.Module) -> nn.Module:
    """A deep copy whose pruning masks are applied and gone, in the model's training mode."""
    resolved = unmasked(model)
    attributes = (value for module in resolved.model.modules() for value in vars(module).values())
    made = {id(t): t.detach().clone() for t in attributes if isinstance(t, torch.Tensor) and not t.is_leaf}
    with quiet():
        twin = copy.deepcopy(resolved.model, made)
    training = {path: module.training for path, module in model.named_modules()}
    for path, module in twin.named_modules():
        module.training = training[path]
    with torch.no_grad():
        for name, mask in resolved.masks.items():
            parameter = twin.get_parameter(name)
            parameter.mul_(mask.to(parameter.device))
    return twin


def kernels(model: nn.Module, parameters: Sequence[str]) -> dict[str, torch.Tensor]:
    """The named parameters of a plain model, ready to be differentiated; a tied one is found under all its names."""
    known = dict(model.named_parameters(remove_duplicate=False))
    if unknown := [name for name in parameters if name not in known]:
        raise _unknown(unknown)
    return {name: known[name].requires_grad_() for name in parameters}


class Weights(Mapping[str, np.ndarray]):
    """The present values of a model's kernels as NumPy arrays, each made when it is asked for.

    float32 or float64, masks of `torch.nn.utils.prune` applied; CPU tensors that nothing masks share their memory with
    the model: read only. Where the model is on the meta device, ``stored`` has the values.
    """

    def __init__(self, model: nn.Module, parameters: Sequence[str], stored: Stored | None = None):
        self._model, self._parameters, self._stored = model, tuple(parameters), stored
        self._masks = unmasked(model).masks

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = _weight(self._model, name, self._masks.get(name))
        return to_numpy(self._stored[name] if tensor.is_meta and self._stored else tensor, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def weights(model: nn.Module, parameters: Sequence[str]) -> dict[str, np.ndarray]:
    """The present values of the named kernels, see `Weights`."""
    return dict(Weights(model, parameters))


def shapes_of(model: nn.Module, parameters: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of the named kernels; the model may live on the meta device."""
    return {name: tuple(_weight(model, name).shape) for name in parameters}


def to_numpy(tensor: torch.Tensor, name: str) -> np.ndarray:
    """A tensor's values as float32 or float64; a model without values (on the meta device) is refused."""
    if tensor.is_meta:
        raise ModelError(
            "scores must be computed from a model's weights",
            place=name,
            received="a parameter on the meta device",
            way_out="give weights=, a mapping of names to tensors; or a model with weights",
        )
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()).numpy()


def apply_masks(kernels: Mapping[str, torch.Tensor], masks: Masks | None) -> None:
    """Set a scratch model's kernels to zero outside `masks`."""
    with torch.no_grad():
        for name, kernel in kernels.items():
            kernel.mul_(torch.from_numpy(mask_of(masks or {}, name, tuple(kernel.shape))).to(kernel.device))


def check_numbers(scores: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The scores, unless one of them is not a number."""
    for name, values in scores.items():
        if np.isnan(values).any():
            raise MaskError(
                "a score must be a number", place=name, received="NaN", way_out="look at the weights, data and loss"
            )
    return scores


def without_pruned(scores: Mapping[str, np.ndarray], masks: Masks | None) -> dict[str, np.ndarray]:
    """The scores with minus infinity wherever `masks` has pruned already, so that nothing comes back."""
    if masks is None:
        return dict(scores)
    return {name: np.where(mask_of(masks, name, values.shape), values, -np.inf) for name, values in scores.items()}


def mask_of(masks: Masks, name: str, shape: Sequence[int]) -> np.ndarray:
    """The mask called `name` as a boolean array; all True where `masks` has none."""
    if name not in masks:
        return np.ones(tuple(shape), bool)
    mask = masks[name]
    mask = mask.unpack() if isinstance(mask, Mask) else mask
    mask = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
    if mask.shape != tuple(shape):
        raise MaskError(
            "a mask must have the shape of its parameter",
            place=name,
            received=mask.shape,
            way_out=f"give {tuple(shape)}",
        )
    return mask.astype(bool, copy=False)


def _weight(model: nn.Module, name: str, mask: torch.Tensor | None = None) -> torch.Tensor:
    """A parameter under the mask that the model has for all of its uses."""
    path, _, attribute = name.rpartition(".")
    module = dict(model.named_modules(remove_duplicate=False)).get(path)
    original = getattr(module, f"{attribute}_orig", None)
    if original is not None:
        return original * (getattr(module, f"{attribute}_mask") if mask is None else mask.to(original.device))
    tensor = getattr(module, attribute, None)
    if not isinstance(tensor, torch.Tensor):
        raise _unknown([name])
    return tensor


def _unknown(names: Sequence[str]) -> MaskError:
    return MaskError("scores must be for parameters of the model", received=f"no parameter {', '.join(names)}")


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """Global random generators start from `seed` inside the block and are afterwards as they were.

    torch.manual_seed would also seed devices that were never used; only generators that exist are seeded here.
    """
    with same_random_state():
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield

"""A private copy of the user's model to compute on, so that the model itself is never touched; and its kernels."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from graphsparse.arrays import as_mask
from graphsparse.capture import Network, network_of
from graphsparse.capture.parameters import unmasked
from graphsparse.capture.quiet import quiet, same_random_state
from graphsparse.errors import MaskError, ModelError
from graphsparse.given_masks import wrong_shape
from graphsparse.kernels.masks import Mask

Masks = Mapping[str, "torch.Tensor | np.ndarray"]
Model = nn.Module | Network


@contextmanager
def scratch(
    model: Model, parameters: Sequence[str], masks: Masks | None, seed: int, dtype: torch.dtype | None
) -> Iterator[tuple[nn.Module, dict[str, torch.Tensor]]]:
    """Yield a copy of `model` in `dtype`, and its named kernels under `masks`, ready to be differentiated.

    The copy keeps the model's training mode and buffers; masks that the model carries are applied and gone. Inside the block
    gradients are on, and random draws start from `seed`, see `own_random_state`.
    """
    with own_random_state(seed), torch.enable_grad():
        twin = _copied(network_of(model).runnable).to(dtype)
        known = dict(twin.named_parameters(remove_duplicate=False))
        _require_known(parameters, known)
        kernels = {name: known[name].requires_grad_() for name in parameters}
        apply_masks(kernels, masks or {})
        yield twin, kernels


def _copied(model: nn.Module) -> nn.Module:
    resolved = unmasked(model)
    attributes = (value for module in resolved.model.modules() for value in vars(module).values())
    made = {id(t): t.detach().clone() for t in attributes if isinstance(t, torch.Tensor) and not t.is_leaf}
    with quiet():
        twin = copy.deepcopy(resolved.model, made)
    training = {path: module.training for path, module in model.named_modules()}
    for path, module in twin.named_modules():
        module.training = training[path]
    apply_masks({name: twin.get_parameter(name) for name in resolved.masks}, resolved.masks)
    return twin


def apply_masks(kernels: Mapping[str, torch.Tensor], masks: Masks) -> None:
    """Set a scratch model's kernels to zero outside `masks`."""
    with torch.no_grad():
        for name, kernel in kernels.items():
            kernel.mul_(torch.from_numpy(mask_of(masks, name, kernel.shape)).to(kernel.device))


class Weights(Mapping[str, np.ndarray]):
    """The present values of a model's kernels as NumPy arrays, each made when it is asked for.

    float32 or float64, masks that the model carries applied; CPU tensors that nothing masks share their memory with the
    model: read only. Where the model is on the meta device, the network's ``weights`` have the values.
    """

    def __init__(self, model: Model, parameters: Sequence[str]):
        network = network_of(model)
        known, self._masks, _ = network.present()
        _require_known(parameters, known.canonical)
        self._first, self._stored = {name: known.canonical[name] for name in parameters}, network.weights
        self._tensors = known.tensors

    def __getitem__(self, name: str) -> np.ndarray:
        first = self._first[name]
        tensor = self._tensors[first]
        if tensor.is_meta and self._stored:
            return to_numpy(self._stored[name], name)
        return to_numpy(tensor * self._masks[first].to(tensor.device) if first in self._masks else tensor, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the kernels, also of those without values."""
        return {name: tuple(self._tensors[first].shape) for name, first in self._first.items()}


def to_numpy(tensor: torch.Tensor, name: str) -> np.ndarray:
    """A tensor's values as float32 or float64; a model without values (on the meta device) is refused."""
    if tensor.is_meta:
        raise ModelError(
            "scores must be computed from a model's weights", place=name, received="a parameter on the meta device",
            way_out="give weights=, a mapping of names to tensors; or a model with weights",
        )  # fmt: skip
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()).numpy()


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
    given = masks[name]
    mask = given.unpack() if isinstance(given, Mask) else as_mask(name, given)
    if mask.shape != tuple(shape):
        raise wrong_shape(name, mask.shape, shape)
    return mask


def _require_known(names: Sequence[str], known: Mapping[str, object]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise MaskError("scores must be for parameters of the model", received=f"no parameter {', '.join(unknown)}")


@contextmanager
def own_random_state(seed: int) -> Iterator[None]:
    """torch's, NumPy's and Python's global generators start from `seed` inside the block; afterwards they are as before.

    torch.manual_seed would also seed devices that were never used; only generators that exist are seeded here.
    """
    with same_random_state():
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        yield

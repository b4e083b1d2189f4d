"""Which axis of the inputs counts samples: one sample shows the whole graph, since samples do not influence each other.

The first axis does, as a rule. In recurrent layers and attention as torch makes them by default it counts steps of time,
which do influence each other, and the second axis counts samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.nodes import tensors_in
from graphsparse.capture.quiet import quiet, same_random_state

TOLERANCE = 1e-5  # relative: two runs that differ by less give the same


def batch_size(examples: Iterable[Any], axis: int | None) -> int | None:
    """The number of samples: the size that all tensors of two or more axes share along the batch axis, if they do."""
    if axis is None:
        return None
    sizes = {t.size(axis) for t in examples if isinstance(t, torch.Tensor) and t.dim() > max(axis, 1)}
    return sizes.pop() if len(sizes) == 1 else None


def batch_axis_of(value: torch.Tensor, axis: int | None, samples: int | None) -> int | None:
    """The axis of a tensor that counts samples: a tensor of one axis may hold a number for each, as timesteps do."""
    if axis is None or value.dim() > 1:
        return axis if axis is None or value.dim() > axis else None
    return 0 if value.dim() == 1 and len(value) == samples else None


def first_samples(value: Any, axis: int | None, samples: int | None, most: int = 1) -> Any:
    """The same structure with every tensor cut to its first sample, or its first ``most``."""
    if isinstance(value, torch.Tensor):
        own = batch_axis_of(value, axis, samples)
        return value if own is None or value.size(own) <= most else value.narrow(own, 0, most)
    if isinstance(value, Mapping):
        return {key: first_samples(item, axis, samples, most) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(first_samples(item, axis, samples, most) for item in value)
    return value


def axis_of_samples(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    """The first axis, where runs with two samples do not show that they influence each other; else the second, or None.

    Nothing is run where the first axis has a single entry, or where the model is on the meta device.
    """
    whole = args, dict(kwargs)
    tensors = tensors_in(whole)
    first = any(each.size(0) > 1 for each in tensors if each.dim() > 1)
    if (
        not first
        or any(each.is_meta for each in (*tensors, *model.parameters()))
        or _apart(model, whole, 0) is not False
    ):
        return 0
    return 1 if _apart(model, whole, 1) else None


@torch.no_grad()
def _apart(model: nn.Module, whole: tuple[Any, Any], axis: int) -> bool | None:
    """Whether each of two samples gives the same beside another one; None where runs do not tell."""
    samples = batch_size(tensors_in(whole), axis)
    draws = torch.Generator().manual_seed(0)

    def paired(leaf: Any) -> Any:  # one sample alone is given twice
        own = batch_axis_of(leaf, axis, samples) if isinstance(leaf, torch.Tensor) else None
        return torch.cat([leaf, leaf], own) if own is not None and samples == 1 else leaf

    def drawn(leaf: Any) -> Any:
        return _drawn(leaf, draws) if isinstance(leaf, torch.Tensor) else leaf

    def beside(kept: int) -> Any:
        """The pair with fresh numbers in the place of the other sample."""

        def changed(leaf: Any) -> Any:
            own = batch_axis_of(leaf, axis, 2) if isinstance(leaf, torch.Tensor) else None
            if own is None or leaf.size(own) != 2:
                return leaf
            return torch.where(_is_at(leaf, own, kept), leaf, _drawn(leaf, draws))

        return tree_map(changed, pair)

    try:
        held = {name: _generic(each, draws) for name, each in model.named_parameters()}
        pair = tree_map(drawn, tree_map(paired, first_samples(whole, axis, samples, 2)))
        alone = _run(model, held, pair)
        same = [
            _same(*each, kept) for kept in (0, 1) for each in zip(alone, _run(model, held, beside(kept)), strict=True)
        ]
    except Exception:  # a model that does not take these numbers, or not two samples
        return None
    return all(same) if alone else None


def _run(model: nn.Module, parameters: dict[str, torch.Tensor], inputs: tuple[Any, Any]) -> list[torch.Tensor]:
    """The floating outputs with an axis (a loss of all samples has none). What the model holds is not changed."""
    args, kwargs = inputs
    held = {**parameters, **{name: each.clone() for name, each in model.named_buffers()}}
    with quiet(), same_random_state():
        torch.manual_seed(0)
        outputs = tree_leaves(torch.func.functional_call(model, held, args, kwargs))
    return [each for each in tensors_in(outputs) if each.is_floating_point() and each.dim()]


def _generic(parameter: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Numbers in the place of a parameter, none of them zero: what a model's own weights hide is a connection too."""
    if parameter.dim() < 2 or parameter.is_complex():
        return _drawn(parameter.detach(), draws)
    size = parameter[0].numel() ** -0.5
    return torch.randn(parameter.shape, generator=draws).mul_(size).to(parameter)


def _drawn(leaf: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Other numbers of the same type: integers as large as those that are there, or 0 and 1."""
    if leaf.is_floating_point():
        return (torch.rand(leaf.shape, generator=draws) + 0.5).to(leaf)
    if leaf.dtype == torch.bool or leaf.is_complex() or not leaf.numel():
        return leaf
    low, high = int(leaf.min()), int(leaf.max())
    return torch.randint(low, max(low + 2, high + 1), leaf.shape, generator=draws).to(leaf)


def _is_at(leaf: torch.Tensor, axis: int, place: int) -> torch.Tensor:
    there = torch.arange(2, device=leaf.device) == place
    return there.reshape([2 if each == axis else 1 for each in range(leaf.dim())])


def _same(one: torch.Tensor, other: torch.Tensor, kept: int) -> bool:
    """Whether two results agree in what they say of the sample that was kept."""
    parts = []
    for result in (one, other):
        for axis, size in enumerate(result.shape):
            if size == 2:
                result = result.narrow(axis, kept, 1)
        if result.shape == one.shape and one.dim() and one.size(0) % 2 == 0:  # samples and positions joined in one axis
            result = result.chunk(2)[kept]
        parts.append(result.nan_to_num())
    found, wanted = parts
    return bool((found - wanted).abs().max() <= TOLERANCE * max(float(one.nan_to_num().abs().max()), 1e-30))

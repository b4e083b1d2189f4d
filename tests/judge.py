"""The slow obvious judge of liveness: a weight is active where the gradient of the outputs is not zero.

The model is run in float64 with positive weights on smooth positive inputs, biases zero, normalisations replaced by the
identity, and selections (maximum, clamping from above, rounding) by sums, which is what "generic" means in DESIGN 2: any
operand may be chosen. The gradients are united over several inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

import graphsparse as gs
from graphsparse.graph import LayeredGraph
from graphsparse.passes.liveness import active_connections

F = torch.nn.functional
DENSITIES = (0.6, 0.25, 0.08)


def positive(model: nn.Module, seed: int = 0, scale: float = 1.0) -> nn.Module:
    """The model in float64 evaluation mode with positive weights of moderate fan-in, biases and running means zero."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                fan = max(1, parameter[0].numel())
                parameter.copy_((0.5 + torch.rand(parameter.shape, generator=generator)) * scale / fan**0.5)
            elif "bias" in name:
                parameter.zero_()
            else:
                parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    return model


def random_masks(shapes: Mapping[str, tuple[int, ...]], density: float, seed: int = 0) -> dict[str, torch.Tensor]:
    """Independent random masks of one density for every kernel."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) < density for name, shape in shapes.items()}


class Smooth(TorchFunctionMode):
    """Runs a model with its selections as sums and its kinks smooth, so that one gradient shows every dependence."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        smooth = _SMOOTH.get(getattr(function, "__name__", ""))
        return smooth(*args, **kwargs) if smooth else function(*args, **kwargs)


def _pool(average: Callable) -> Callable:
    def pooled(value, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        assert dilation == 1 or dilation == (1,)
        return average(value, kernel, stride, padding, ceil_mode)

    return pooled


def _summed(value, dim=None, keepdim=False):
    if dim is None:
        return value.sum()
    total = value.sum(dim, keepdim)
    return torch.return_types.max((total, torch.zeros_like(total, dtype=torch.int64))) if isinstance(dim, int) else total


_SMOOTH: dict[str, Callable] = {
    "max_pool1d": _pool(F.avg_pool1d),
    "max_pool2d": _pool(F.avg_pool2d),
    "max_pool3d": _pool(F.avg_pool3d),
    "adaptive_max_pool2d": F.adaptive_avg_pool2d,
    "adaptive_max_pool1d": F.adaptive_avg_pool1d,
    "relu": lambda value, *rest, **kwargs: torch.tanh(value),
    "relu_": lambda value, *rest, **kwargs: torch.tanh(value),
    "relu6": lambda value, *rest, **kwargs: torch.tanh(value),
    "hardtanh": lambda value, *rest, **kwargs: torch.tanh(value),
    "hardswish": lambda value, *rest, **kwargs: torch.nn.functional.silu(value),
    "hardsigmoid": lambda value, *rest, **kwargs: torch.sigmoid(value),
    "maximum": torch.add,
    "amax": lambda value, dim=None, keepdim=False: value.sum(dim, keepdim),
    "max": _summed,
}


def without_normalisation(model: nn.Module) -> nn.Module:
    """A copy in which every normalisation module is the identity."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if "Norm" in type(child).__name__ and not list(child.children()):
                setattr(module, name, nn.Identity())
    return model


def smooth_inputs(example: Any, seed: int) -> Any:
    """Positive numbers in place of every floating tensor."""
    generator = torch.Generator().manual_seed(seed)

    def fill(leaf):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            return 0.2 + torch.rand(leaf.shape, generator=generator, dtype=torch.float64)
        return leaf

    return tree_map(fill, example)


def gradient_masks(
    model: nn.Module, args: tuple, masks: Mapping[str, torch.Tensor], *, kwargs: dict | None = None, inputs: int = 2,
    smooth: bool = True,
) -> dict[str, np.ndarray]:
    """Which kept weights have a gradient that is not zero for any of several inputs."""
    model = without_normalisation(model)
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            named[name].mul_(mask)
    active = {name: np.zeros(tuple(mask.shape), bool) for name, mask in masks.items()}
    for seed in range(inputs):
        for parameter in named.values():
            parameter.grad = None
        _loss(model, smooth_inputs(args, seed), smooth_inputs(kwargs or {}, seed), smooth, seed).backward()
        for name, mask in masks.items():
            if named[name].grad is not None:
                active[name] |= ((named[name].grad != 0) & mask).numpy()
    return active


def _loss(model: nn.Module, args: tuple, kwargs: dict, smooth: bool, seed: int) -> torch.Tensor:
    if smooth:
        with Smooth():
            outputs = model(*args, **kwargs)
    else:
        outputs = model(*args, **kwargs)
    generator = torch.Generator().manual_seed(100 + seed)
    leaves = [leaf for leaf in tree_leaves(_plain(outputs)) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    weighted = [(leaf * (0.5 + torch.rand(leaf.shape, generator=generator, dtype=torch.float64))).sum() for leaf in leaves]
    return torch.stack(weighted).sum() if weighted else torch.zeros((), requires_grad=True)


def _plain(outputs: Any) -> Any:
    return tuple(outputs.values()) if isinstance(outputs, Mapping) else outputs


def excess(
    model: nn.Module, args: tuple, *, kwargs: dict | None = None, densities: tuple[float, ...] = DENSITIES,
    seeds: tuple[int, ...] = (0,), scale: float = 1.0, smooth: bool = True, export_options: dict | None = None,
) -> tuple[int, int, LayeredGraph]:
    """Active connections too many against the judge, over all densities; none may be too few. And how many the judge has.

    Both resolutions run; channel must be a superset of unrolled.
    """
    model = positive(model, scale=scale)
    args, kwargs = smooth_inputs(args, 7), smooth_inputs(kwargs or {}, 7)
    options = export_options or {}
    graph = gs.export(model, args, masks={}, kwargs=kwargs, **options)
    coarse = gs.export(model, args, masks={}, kwargs=kwargs, resolution="channel", **options)
    assert set(graph.shapes) == set(coarse.shapes)
    too_many = truly = 0
    for density in densities:
        for seed in seeds:
            masks = random_masks(graph.shapes, density, seed)
            judge = gradient_masks(model, args, masks, kwargs=kwargs, smooth=smooth)
            found = active_connections(graph.with_masks(masks))
            above = active_connections(coarse.with_masks(masks))
            for name in masks:
                missed = int((judge[name] & ~found[name]).sum())
                assert missed == 0, f"{name}: {missed} of {int(judge[name].sum())} active connections missed at density {density}"
                hidden = int((found[name] & ~above[name]).sum())
                assert hidden == 0, f"{name}: channel resolution misses {hidden} of unrolled's at density {density}"
                too_many += int((found[name] & ~judge[name]).sum())
                truly += int(judge[name].sum())
    return too_many, truly, graph


def assert_exact(model: nn.Module, args: tuple, **settings: Any) -> LayeredGraph:
    """The graph's active connections are the judge's, at every density, and the judge found some."""
    too_many, truly, graph = excess(model, args, **settings)
    assert truly > 0, "the judge found nothing active: the test shows nothing"
    assert too_many == 0, f"{too_many} connections too many, where {truly} are active"
    return graph

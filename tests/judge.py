"""The slow obvious judge of liveness: a weight is active where the gradient of the outputs is not zero.

The model is run in float64 with positive weights on smooth positive inputs, biases zero, normalisations replaced by the
identity, and selections (maximum, clamping from above, rounding) by sums, which is what "generic" means in
docs/semantics.md (What is alive): any operand may be chosen. The gradients are united over several inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
                parameter.copy_((0.5 + torch.rand(parameter.shape, generator=generator)) * scale / fan)
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


def _summed(value: torch.Tensor, dim=None, keepdim=False):
    if dim is None:
        return value.sum()
    total = value.sum(dim, keepdim)
    return (
        torch.return_types.max((total, torch.zeros_like(total, dtype=torch.int64))) if isinstance(dim, int) else total
    )


def _bent(value, *rest, **kwargs):
    """Zero at zero, never flat."""
    return 0.7 * value + 0.3 * torch.tanh(value)


_SMOOTH: dict[str, Callable] = {
    "max_pool1d": _pool(F.avg_pool1d),
    "max_pool2d": _pool(F.avg_pool2d),
    "max_pool3d": _pool(F.avg_pool3d),
    "adaptive_max_pool2d": lambda value, size, return_indices=False: F.adaptive_avg_pool2d(value, size),
    "adaptive_max_pool1d": lambda value, size, return_indices=False: F.adaptive_avg_pool1d(value, size),
    **dict.fromkeys(["relu", "relu_", "relu6", "hardtanh"], _bent),
    "hardswish": lambda value, *rest, **kwargs: torch.nn.functional.silu(value),
    "hardsigmoid": lambda value, *rest, **kwargs: torch.sigmoid(value),
    "maximum": torch.add,
    "amax": lambda value, dim=None, keepdim=False: value.sum(dim, keepdim),
    "max": _summed,
}


def without_normalisation(model: nn.Module) -> nn.Module:
    """A copy in which every normalisation module is the identity."""
    made = [t for module in model.modules() for t in vars(module).values() if isinstance(t, torch.Tensor)]
    model = copy.deepcopy(model, {id(tensor): tensor.detach() for tensor in made})
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if "Norm" in type(child).__name__ and type(child).__name__[0] != "_" and not list(child.children()):
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
    model: nn.Module,
    args: tuple,
    masks: Mapping[str, torch.Tensor],
    *,
    kwargs: dict | None = None,
    inputs: int = 2,
    smooth: bool = True,
) -> dict[str, np.ndarray]:
    """Which kept weights have a gradient that is not zero for any of several inputs."""
    model = without_normalisation(model)
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            named[name].mul_(mask).div_(
                mask.double().mean().clamp(min=1e-3)
            )  # values stay of one size whatever the density
    active = {name: np.zeros(tuple(mask.shape), bool) for name, mask in masks.items()}
    moved = moved_inputs(model, args, kwargs or {}, smooth)
    for seed in range(inputs):
        for parameter in named.values():
            parameter.grad = None
        with only_moved(model, moved):
            _loss(model, smooth_inputs(args, seed), smooth_inputs(kwargs or {}, seed), smooth, seed).backward()
        for name, mask in masks.items():
            if named[name].grad is not None:
                active[name] |= ((named[name].grad != 0) & mask).numpy()
    return active


KERNELS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def moved_inputs(model: nn.Module, args: tuple, kwargs: dict, smooth: bool) -> list[torch.Tensor]:
    """Which elements each call of a layer reads differ between two inputs: the others are constants, which make nothing active."""
    seen: list[list[torch.Tensor]] = [[], []]
    for run, inputs in enumerate(seen):
        layers = [module for module in model.modules() if isinstance(module, KERNELS)]
        hooks = [
            m.register_forward_pre_hook(lambda module, given, to=inputs: to.append(given[0].detach().clone()))
            for m in layers
        ]
        with torch.no_grad():
            _loss(model, smooth_inputs(args, 50 + run), smooth_inputs(kwargs, 50 + run), smooth, 0)
        for hook in hooks:
            hook.remove()
    return [one != two for one, two in zip(*seen, strict=True)]


@contextmanager
def only_moved(model: nn.Module, moved: list[torch.Tensor]) -> Iterator[None]:
    """Let kernels have gradients only through the elements that inputs move; what the layers compute stays."""
    calls = iter(moved)

    def masked(module: nn.Module, given: tuple, result: torch.Tensor) -> torch.Tensor:
        still = {name: parameter.detach() for name, parameter in module.named_parameters()}
        part = given[0] * next(calls)
        return (
            torch.func.functional_call(module, still, given)
            + module.forward(part)
            - torch.func.functional_call(module, still, part)
        )

    inside = {"on": False}

    def guarded(module: nn.Module, given: tuple, result: torch.Tensor) -> torch.Tensor:
        if inside["on"]:
            return result
        inside["on"] = True
        try:
            return masked(module, given, result)
        finally:
            inside["on"] = False

    hooks = [module.register_forward_hook(guarded) for module in model.modules() if isinstance(module, KERNELS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _loss(model: nn.Module, args: tuple, kwargs: dict, smooth: bool, seed: int) -> torch.Tensor:
    if smooth:
        with Smooth():
            outputs = model(*args, **kwargs)
    else:
        outputs = model(*args, **kwargs)
    generator = torch.Generator().manual_seed(100 + seed)
    leaves = [leaf for leaf in tree_leaves(_plain(outputs)) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    weighted = [
        (leaf * (0.5 + torch.rand(leaf.shape, generator=generator, dtype=torch.float64))).sum() for leaf in leaves
    ]
    return torch.stack(weighted).sum() if weighted else torch.zeros((), requires_grad=True)


def _plain(outputs: Any) -> Any:
    return tuple(outputs.values()) if isinstance(outputs, Mapping) else outputs


def excess(
    model: nn.Module,
    args: tuple,
    *,
    kwargs: dict | None = None,
    densities: tuple[float, ...] = DENSITIES,
    seeds: tuple[int, ...] = (0,),
    scale: float = 1.0,
    smooth: bool = True,
) -> tuple[int, int, LayeredGraph]:
    """Active connections too many against the judge, over all densities; none may be too few. And how many the judge has.

    Both resolutions run; channel must be a superset of unrolled.
    """
    model = positive(model, scale=scale)
    args, kwargs = smooth_inputs(args, 7), smooth_inputs(kwargs or {}, 7)
    torch.set_num_threads(1)  # small work: threads of several pools would only wait for each other
    network = gs.network(model, args, kwargs=kwargs)  # captured once: that is most of the time of a small test
    graph, coarse = (gs.export(network, {}, resolution=r) for r in ("unrolled", "channel"))
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
                assert missed == 0, (
                    f"{name}: {missed} of {int(judge[name].sum())} active connections missed at density {density}"
                )
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

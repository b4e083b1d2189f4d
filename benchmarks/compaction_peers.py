"""The same dead units out by Torch-Pruning and torch-simplify, for `compaction.py`."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import nn

from graphsparse.compaction import Compacted


def by_torch_pruning(model: nn.Module, found: Compacted, x: torch.Tensor) -> nn.Module:
    """The masked model without the units that left ours, cut by Torch-Pruning's groups."""
    import torch_pruning as tp

    graph = tp.DependencyGraph().build_dependency(model, example_inputs=x)
    modules = dict(model.named_modules())
    for name, axes in found.unit_map.items():
        module = modules.get(name.removesuffix(".weight"))
        if not name.endswith(".weight") or not isinstance(module, (nn.Linear, nn.Conv2d)):
            continue
        size = dict(found.masked.named_parameters())[name].shape[0]
        gone = sorted(set(range(size)) - set(axes[0].tolist()))
        if not gone or module.weight.shape[0] != size:  # cut already, with a layer that it is tied to
            continue
        cut = tp.prune_conv_out_channels if isinstance(module, nn.Conv2d) else tp.prune_linear_out_channels
        graph.get_pruning_group(module, cut, idxs=gone).prune()
    return model


def by_simplify(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """The masked model without the channels that torch-simplify finds to be zero."""
    import simplify

    return simplify.simplify(model, x, fuse_bn=False)


@cache
def has_simplify() -> bool:
    """Whether torch-simplify is installed.

    It imports three classes of torchvision, to know its models by; none of ours is one. Where torchvision is missing,
    classes without content take their place.
    """
    if not find_spec("simplify"):
        print("torch-simplify is left out: it is not installed")
        return False
    if not find_spec("torchvision"):
        names = {
            "torchvision": (),
            "torchvision.models": ("MobileNetV3", "ShuffleNetV2"),
            "torchvision.models.densenet": ("_DenseLayer",),
        }
        for module, classes in names.items():
            sys.modules[module] = ModuleType(module)
            sys.modules[module].__dict__.update({each: type(each, (), {}) for each in classes})
        import_module("simplify")
        for module in names:  # transformers asks whether torchvision is there
            del sys.modules[module]
    return True

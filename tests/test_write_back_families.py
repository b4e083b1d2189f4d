"""Effective masks written back leave what every model computes as it was, on any input, biases and statistics included."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

import graphsparse as gs
from tests import families
from tests.mixed import VOCAB
from tests.transformer_models import FAMILIES, ROUTED, built

transformers = pytest.importorskip("transformers")


def pruned(model: nn.Module, density: float, seed: int) -> nn.Module:
    """Random weights of either sign, random biases and shifts, zeros where random masks say so; float64."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.4)
            if parameter.dim() > 1:
                parameter.mul_(torch.rand(parameter.shape, generator=generator) < density)
    return model


def others(inputs, seed: int):
    """Other numbers and other tokens of the same shapes."""
    generator = torch.Generator().manual_seed(seed)

    def other(leaf):
        if leaf.is_floating_point():
            return torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype)
        return torch.randint(0, VOCAB, leaf.shape, generator=generator)

    return tree_map(lambda leaf: other(leaf) if isinstance(leaf, torch.Tensor) else leaf, inputs)


def outputs(model: nn.Module, args: tuple, kwargs: dict) -> list[torch.Tensor]:
    for module in model.modules():  # the grouped product of experts takes no sizes as small as these
        if hasattr(getattr(module, "config", None), "_experts_implementation"):
            module.config._experts_implementation = "eager"
    with torch.no_grad():
        return [leaf for leaf in tree_leaves(model(*args, **kwargs)) if isinstance(leaf, torch.Tensor)]


def assert_unchanged(
    model: nn.Module, args: tuple = (), kwargs: dict | None = None, fold: bool = True, tolerance: float = 1e-9
) -> None:
    """The same outputs before and after, on the example and on other inputs; nothing active is dropped."""
    kwargs = kwargs or {}
    after = copy.deepcopy(model)  # `outputs` changes how experts are computed: both are written before they run
    network = gs.network(after, args, kwargs=kwargs)  # captured once
    masks = gs.effective_masks(gs.export(network, norm_statistics=True))
    written = gs.write_masks(network, masks, norm_statistics=True, fold_constants=fold, form="zeros")
    assert all(bool((mask <= written.masks[name]).all()) for name, mask in masks.items())
    for seed in range(3):
        given = (args, kwargs) if not seed else others((args, kwargs), seed)
        for one, two in zip(outputs(model, *given), outputs(after, *given), strict=True):
            if one.is_floating_point():
                torch.testing.assert_close(two, one, rtol=tolerance, atol=tolerance * max(1.0, float(one.abs().max())))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ROUTED])
def test_transformers(name):
    model = pruned(built(name, "eager"), 0.2, 1)
    assert_unchanged(model, kwargs=example(name), fold=len(name) % 4 > 0)


@pytest.mark.parametrize("name", ROUTED)
def test_experts(name):
    """Their grouped product has no form in double precision, in which constants are measured: they are kept."""
    model = pruned(built(name, "eager"), 0.3, 1).float()
    given = {key: value.float() if value.is_floating_point() else value for key, value in example(name).items()}
    assert_unchanged(model, kwargs=given, tolerance=1e-4)


def example(name: str) -> dict[str, torch.Tensor]:
    return {key: make(0) for key, make in FAMILIES[name][1].items()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", families.MODELS)
def test_convolutional(name):
    model, image = families.MODELS[name]
    assert_unchanged(pruned(copy.deepcopy(model), 0.3, 2), (image[:1].double(),))


@pytest.mark.parametrize("name", families.LIBRARY)
def test_library(name):
    settings, image = families.LIBRARY[name]
    config = getattr(transformers, f"{name}Config")(**settings)
    model = getattr(transformers, f"{name}ForImageClassification")(config)
    assert_unchanged(pruned(model, 0.3, 2), kwargs={"pixel_values": image.double()})


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent(kind):
    model = pruned(families.Recurrent(kind), 0.3, 3)
    assert_unchanged(model, (torch.zeros(1, 4, 3, dtype=torch.float64),))

"""The zoo: shapes of the reference, order of the kernels, initialisation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from graphsparse import zoo
from graphsparse.errors import ModelError

SHAPES = {
    name: (entry["input"], entry["shapes"])
    for name, entry in json.loads((Path(__file__).parent / "reference" / "vectors.json").read_text())[
        "architectures"
    ].items()
}
OUTPUTS = {
    "lenet300100": 10,
    "lenet5": 10,
    "vgg16": 10,
    "vgg19": 100,
    "resnet18": 200,
    "digits_mlp": 10,
    "digits_conv": 10,
}
WITH_NORM = {"vgg16", "vgg19", "resnet18"}


def kernels(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.dim() > 1}


def test_the_five_architectures_are_those_of_the_reference():
    assert list(zoo.ARCHITECTURES) == list(SHAPES)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", list(SHAPES))
def test_kernels_have_the_reference_shapes_in_its_order(name, batch_norm):
    given_input, shapes = SHAPES[name]
    assert list(zoo.input_shape(name)) == given_input
    assert [list(kernel.shape) for kernel in kernels(zoo.build(name, batch_norm=batch_norm)).values()] == shapes


@pytest.mark.parametrize("name", list(OUTPUTS))
def test_forward_gives_one_row_of_classes(name):
    outputs = zoo.build(name).eval()(torch.zeros(2, *zoo.input_shape(name)))
    assert outputs.shape == (2, OUTPUTS[name])


@pytest.mark.parametrize("name", list(SHAPES))
def test_batch_norm_follows_every_kernel_in_place_of_the_biases(name):
    modules = list(zoo.build(name, batch_norm=True).modules())
    layers = [m for m in modules if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    norms = [m for m in modules if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert [norm.num_features for norm in norms] == [layer.weight.shape[0] for layer in layers]
    assert all(layer.bias is None for layer in layers)


@pytest.mark.parametrize("name", list(SHAPES))
def test_batch_norm_is_the_default_of_the_deep_ones_only(name):
    modules = list(zoo.build(name).modules())
    assert any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in modules) == (name in WITH_NORM)


def test_the_skip_of_resnet_is_a_kernel_only_where_the_stride_is_two():
    names = [name for name in kernels(zoo.build("resnet18")) if "skip" in name]
    assert names == ["block3.skip.conv.weight", "block5.skip.conv.weight", "block7.skip.conv.weight"]


def test_the_identity_skip_adds_the_input():
    block = zoo.build("resnet18", batch_norm=False).block1.eval()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        image = torch.randn(1, 64, 5, 5)
        torch.testing.assert_close(block(image), image.relu())


def test_variance_is_two_over_the_mean_of_the_fans():
    for name, kernel in kernels(zoo.build("lenet300100")).items():
        fan_out, fan_in = kernel.shape
        assert float(kernel.detach().var() * (fan_in + fan_out) / 2) == pytest.approx(2, rel=0.15), name
    weight = zoo.build("vgg16").conv3_2.weight  # 3x3 taps count in both fans: 9 * 256 in, 9 * 256 out
    assert float(weight.detach().var() * 9 * 256) == pytest.approx(2, rel=0.02)


def test_biases_are_zero():
    vectors = [p for p in zoo.build("lenet5").parameters() if p.dim() == 1]
    assert len(vectors) == 5 and not any(bool(p.any()) for p in vectors)


def test_a_seed_names_one_network_and_leaves_torchs_random_state():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = zoo.build("lenet5", seed=3)
    assert torch.equal(torch.rand(3), expected)
    second, other = zoo.build("lenet5", seed=3), zoo.build("lenet5", seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("call", [zoo.build, zoo.input_shape])
def test_an_unknown_name_is_refused_with_the_known_ones(call):
    known = "lenet300100, lenet5, vgg16, vgg19, resnet18, digits_mlp, digits_conv"
    with pytest.raises(
        ModelError,
        match=f"an architecture must be one of the zoo, at name; received 'vgg11'. Way out: take one of {known}",
    ):
        call("vgg11")

"""The networks of the zoo, made of named kernels with or without batch norm, and the paper's initialisation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

NamedModules = Iterator[tuple[str, nn.Module]]
VGG_WIDTHS = (64, 128, 256, 512, 512)
RESNET_WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)
RESNET_STRIDES = (1, 1, 2, 1, 2, 1, 2, 1)


def lenet300100(*, batch_norm: bool = False) -> nn.Module:
    """LeNet-300-100 for 1 x 28 x 28 images: 784-300-100-10, relu between."""
    return _chain([("flatten", nn.Flatten())], _head([784, 300, 100, 10], batch_norm))


def lenet5(*, batch_norm: bool = False) -> nn.Module:
    """LeNet-5 for 3 x 32 x 32 images: two unpadded 5x5 convolutions with average pools, then 400-120-84-10."""
    return _chain(
        _convolution("1", 3, 6, 5, batch_norm=batch_norm),
        [("relu1", nn.ReLU()), ("pool1", nn.AvgPool2d(2))],
        _convolution("2", 6, 16, 5, batch_norm=batch_norm),
        [("relu2", nn.ReLU()), ("pool2", nn.AvgPool2d(2)), ("flatten", nn.Flatten())],
        _head([400, 120, 84, 10], batch_norm),
    )


def vgg16(*, batch_norm: bool = True) -> nn.Module:
    """VGG-16 for 3 x 32 x 32 images and 10 classes, with one fully connected layer."""
    return _vgg((2, 2, 3, 3, 3), 10, batch_norm)


def vgg19(*, batch_norm: bool = True) -> nn.Module:
    """VGG-19 for 3 x 32 x 32 images and 100 classes, with one fully connected layer."""
    return _vgg((2, 2, 4, 4, 4), 100, batch_norm)


def resnet18(*, batch_norm: bool = True) -> nn.Module:
    """ResNet-18 for 3 x 64 x 64 images and 200 classes: a 3x3 stem of stride 1, eight basic blocks, an average pool of 8
    and one linear layer."""
    sizes = zip((RESNET_WIDTHS[0], *RESNET_WIDTHS), RESNET_WIDTHS, RESNET_STRIDES)
    return _chain(
        _convolution("", 3, RESNET_WIDTHS[0], 3, batch_norm=batch_norm, padding=1),
        [("relu", nn.ReLU())],
        [(f"block{number}", BasicBlock(*each, batch_norm=batch_norm)) for number, each in enumerate(sizes, start=1)],
        [("pool", nn.AvgPool2d(8)), ("flatten", nn.Flatten())],
        _linear("", RESNET_WIDTHS[-1], 200, batch_norm=batch_norm),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a skip: the identity at stride 1, an unpadded 1x1 convolution otherwise."""

    def __init__(self, wide_in: int, wide_out: int, stride: int, *, batch_norm: bool):
        super().__init__()
        self.body = _chain(
            _convolution("1", wide_in, wide_out, 3, batch_norm=batch_norm, stride=stride, padding=1),
            [("relu1", nn.ReLU())],
            _convolution("2", wide_out, wide_out, 3, batch_norm=batch_norm, padding=1),
        )
        skip = () if stride == 1 else _convolution("", wide_in, wide_out, 1, batch_norm=batch_norm, stride=stride)
        self.skip = _chain(skip)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.skip(x))


def digits_mlp() -> nn.Module:
    """The 300-100 network on digits: 64-300-100-10 with biases, relu between; 50,200 connections."""
    return _chain(
        [("flatten", nn.Flatten())],
        [("fc1", nn.Linear(64, 300)), ("relu1", nn.ReLU())],
        [("fc2", nn.Linear(300, 100)), ("relu2", nn.ReLU())],
        [("fc3", nn.Linear(100, 10))],
    )


def digits_conv() -> nn.Module:
    """Three 3x3 convolutions (two padded, one not), each with a bias, batch norm and relu, then 64-10; 56,224 connections.

    A channel that only biases feed is not constant next to zero padding, and is constant where nothing is padded:
    the network has both.
    """
    return _chain(
        [("conv1", nn.Conv2d(1, 32, 3, padding=1)), ("norm1", nn.BatchNorm2d(32)), ("relu1", nn.ReLU())],
        [("conv2", nn.Conv2d(32, 64, 3, padding=1)), ("norm2", nn.BatchNorm2d(64)), ("relu2", nn.ReLU())],
        [("pool2", nn.MaxPool2d(2))],
        [("conv3", nn.Conv2d(64, 64, 3)), ("norm3", nn.BatchNorm2d(64)), ("relu3", nn.ReLU())],
        [("pool3", nn.AvgPool2d(2)), ("flatten", nn.Flatten()), ("fc", nn.Linear(64, 10))],
    )


@torch.no_grad()
def initialise(model: nn.Module, seed: int) -> None:
    """Draw every kernel from a normal of variance 2 / mean(fan-in, fan-out), set biases to zero, leave norms alone.

    One generator serves all kernels in their order, so a seed names one network whatever was drawn before.
    Source: Vysogorets and Kempe 2023, section 4 (Glorot's mean of the fans with He's variance of 2).
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(module.weight, gain=2**0.5, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _chain(*parts: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    """Join named modules, in order, to one sequential network."""
    return nn.Sequential(OrderedDict(pair for part in parts for pair in part))


def _convolution(
    label: str, wide_in: int, wide_out: int, kernel: int, *, batch_norm: bool, stride: int = 1, padding: int = 0
) -> NamedModules:
    """Yield ``conv<label>`` and, if asked for, ``norm<label>``, whose shift then stands for the kernel's bias."""
    yield f"conv{label}", nn.Conv2d(wide_in, wide_out, kernel, stride, padding, bias=not batch_norm)
    if batch_norm:
        yield f"norm{label}", nn.BatchNorm2d(wide_out)


def _linear(label: str, wide_in: int, wide_out: int, *, batch_norm: bool) -> NamedModules:
    """Yield ``fc<label>`` and, if asked for, ``fcnorm<label>``."""
    yield f"fc{label}", nn.Linear(wide_in, wide_out, bias=not batch_norm)
    if batch_norm:
        yield f"fcnorm{label}", nn.BatchNorm1d(wide_out)


def _head(widths: Sequence[int], batch_norm: bool) -> NamedModules:
    for number, (wide_in, wide_out) in enumerate(pairwise(widths), start=1):
        if number > 1:
            yield f"fcrelu{number - 1}", nn.ReLU()
        yield from _linear(str(number), wide_in, wide_out, batch_norm=batch_norm)


def _vgg(depths: Sequence[int], classes: int, batch_norm: bool) -> nn.Module:
    parts: list[Iterable[tuple[str, nn.Module]]] = []
    wide_in = 3
    for block, (depth, width) in enumerate(zip(depths, VGG_WIDTHS), start=1):
        for label in (f"{block}_{number}" for number in range(1, depth + 1)):
            parts.append(_convolution(label, wide_in, width, 3, batch_norm=batch_norm, padding=1))
            parts.append([(f"relu{label}", nn.ReLU())])
            wide_in = width
        parts.append([(f"pool{block}", nn.MaxPool2d(2))])
    return _chain(*parts, [("flatten", nn.Flatten())], _linear("", wide_in, classes, batch_norm=batch_norm))

"""The paper's networks without skips: LeNet-300-100, LeNet-5, VGG-16 and VGG-19."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from graphsparse.zoo.layers import NamedModules, chain, convolution, linear

VGG_WIDTHS = (64, 128, 256, 512, 512)


def lenet300100(*, batch_norm: bool = False) -> nn.Module:
    """LeNet-300-100 for 1 x 28 x 28 images: 784-300-100-10, relu between."""
    return chain([("flatten", nn.Flatten())], _head([784, 300, 100, 10], batch_norm))


def lenet5(*, batch_norm: bool = False) -> nn.Module:
    """LeNet-5 for 3 x 32 x 32 images: two unpadded 5x5 convolutions with average pools, then 400-120-84-10."""
    return chain(
        convolution("1", 3, 6, 5, batch_norm=batch_norm),
        [("relu1", nn.ReLU()), ("pool1", nn.AvgPool2d(2))],
        convolution("2", 6, 16, 5, batch_norm=batch_norm),
        [("relu2", nn.ReLU()), ("pool2", nn.AvgPool2d(2)), ("flatten", nn.Flatten())],
        _head([400, 120, 84, 10], batch_norm),
    )


def vgg16(*, batch_norm: bool = True) -> nn.Module:
    """VGG-16 for 3 x 32 x 32 images and 10 classes, with one fully connected layer."""
    return _vgg((2, 2, 3, 3, 3), classes=10, batch_norm=batch_norm)


def vgg19(*, batch_norm: bool = True) -> nn.Module:
    """VGG-19 for 3 x 32 x 32 images and 100 classes, with one fully connected layer."""
    return _vgg((2, 2, 4, 4, 4), classes=100, batch_norm=batch_norm)


def _head(widths: Sequence[int], batch_norm: bool) -> NamedModules:
    last = len(widths) - 1
    for number in range(1, last + 1):
        yield from linear(str(number), widths[number - 1], widths[number], batch_norm=batch_norm)
        if number < last:
            yield f"fcrelu{number}", nn.ReLU()


def _vgg(depths: Sequence[int], *, classes: int, batch_norm: bool) -> nn.Module:
    flatten = [("flatten", nn.Flatten())]
    return chain(_vgg_blocks(depths, batch_norm), flatten, linear("", VGG_WIDTHS[-1], classes, batch_norm=batch_norm))


def _vgg_blocks(depths: Sequence[int], batch_norm: bool) -> NamedModules:
    wide_in = 3
    for block, (depth, width) in enumerate(zip(depths, VGG_WIDTHS), start=1):
        for number in range(1, depth + 1):
            label = f"{block}_{number}"
            yield from convolution(label, wide_in, width, 3, batch_norm=batch_norm, padding=1)
            yield f"relu{label}", nn.ReLU()
            wide_in = width
        yield f"pool{block}", nn.MaxPool2d(2)

"""The two networks whose pruned checkpoints the project ships, for 1 x 8 x 8 handwritten digits."""

from __future__ import annotations

from torch import nn

from graphsparse.zoo.layers import chain


def digits_mlp() -> nn.Module:
    """The 300-100 network on digits: 64-300-100-10 with biases, relu between; 50,200 connections."""
    return chain(
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
    return chain(
        [("conv1", nn.Conv2d(1, 32, 3, padding=1)), ("norm1", nn.BatchNorm2d(32)), ("relu1", nn.ReLU())],
        [("conv2", nn.Conv2d(32, 64, 3, padding=1)), ("norm2", nn.BatchNorm2d(64)), ("relu2", nn.ReLU())],
        [("pool2", nn.MaxPool2d(2))],
        [("conv3", nn.Conv2d(64, 64, 3)), ("norm3", nn.BatchNorm2d(64)), ("relu3", nn.ReLU())],
        [("pool3", nn.AvgPool2d(2)), ("flatten", nn.Flatten()), ("fc", nn.Linear(64, 10))],
    )

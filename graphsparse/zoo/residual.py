"""The paper's ResNet-18 for 3 x 64 x 64 images and 200 classes."""

from __future__ import annotations

from torch import Tensor, nn

from graphsparse.zoo.layers import chain, convolution, linear

WIDTHS = (64, 64, 128, 128, 256, 256, 512, 512)
STRIDES = (1, 1, 2, 1, 2, 1, 2, 1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a skip: the identity at stride 1, an unpadded 1x1 convolution otherwise."""

    def __init__(self, wide_in: int, wide_out: int, stride: int, *, batch_norm: bool):
        super().__init__()
        self.body = chain(
            convolution("1", wide_in, wide_out, 3, batch_norm=batch_norm, stride=stride, padding=1),
            [("relu1", nn.ReLU())],
            convolution("2", wide_out, wide_out, 3, batch_norm=batch_norm, padding=1),
        )
        self.skip = chain(
            () if stride == 1 else convolution("", wide_in, wide_out, 1, batch_norm=batch_norm, stride=stride)
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.skip(x))


def resnet18(*, batch_norm: bool = True) -> nn.Module:
    """ResNet-18 with a 3x3 stem of stride 1, eight basic blocks, an average pool of 8 and one linear layer."""
    blocks = [
        (f"block{number}", BasicBlock(wide_in, wide_out, stride, batch_norm=batch_norm))
        for number, (wide_in, wide_out, stride) in enumerate(zip((WIDTHS[0], *WIDTHS), WIDTHS, STRIDES), start=1)
    ]
    return chain(
        convolution("", 3, WIDTHS[0], 3, batch_norm=batch_norm, padding=1),
        [("relu", nn.ReLU())],
        blocks,
        [("pool", nn.AvgPool2d(8)), ("flatten", nn.Flatten())],
        linear("", WIDTHS[-1], 200, batch_norm=batch_norm),
    )

"""Small faithful models of every convolutional and recurrent family."""

from __future__ import annotations

import torch
from torch import nn

F = torch.nn.functional


def conv_block(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: type = nn.ReLU
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        act(inplace=True),
    )


class Dense(nn.Module):
    """DenseNet: every layer reads all before it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.layers = nn.ModuleList(nn.Sequential(
            nn.BatchNorm2d(6 + 3 * i), nn.ReLU(inplace=True), nn.Conv2d(6 + 3 * i, 6, 1, bias=False),
            nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 3, 3, padding=1, bias=False),
        ) for i in range(3))  # fmt: skip
        self.transition = nn.Sequential(nn.BatchNorm2d(15), nn.ReLU(), nn.Conv2d(15, 7, 1, bias=False), nn.AvgPool2d(2))
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = self.transition(torch.cat(features, 1))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(F.relu(x), (1, 1)), 1))


class Inception(nn.Module):
    """Branches of several kernel sizes, one asymmetric, joined; and pooling as a branch."""

    def __init__(self):
        super().__init__()
        self.one = conv_block(3, 4, 1)
        self.three = nn.Sequential(
            conv_block(3, 3, 1), nn.Conv2d(3, 4, (1, 3), padding=(0, 1)), nn.Conv2d(4, 4, (3, 1), padding=(1, 0))
        )
        self.pooled = conv_block(3, 2, 1)
        self.down = conv_block(10, 5, 3, 2)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = torch.cat([self.one(x), self.three(x), self.pooled(F.avg_pool2d(x, 3, 1, 1))], 1)
        x = torch.cat([self.down(x), F.max_pool2d(x, 3, 2, 1)], 1)[:, :5]
        return self.head(F.dropout(x.mean([2, 3]), training=self.training))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int, squeezed: int, gate: nn.Module):
        super().__init__()
        self.avgpool, self.fc1, self.fc2 = (
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, squeezed, 1),
            nn.Conv2d(squeezed, width, 1),
        )
        self.gate = gate

    def forward(self, x):
        return x * self.gate(self.fc2(F.relu(self.fc1(self.avgpool(x)))))


class Inverted(nn.Module):
    """MBConv: expand, depthwise, squeeze and excite, project; a residual where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, act: type, gate: nn.Module):
        super().__init__()
        self.block = nn.Sequential(
            conv_block(inputs, 2 * inputs, 1, act=act), conv_block(2 * inputs, 2 * inputs, 3, stride, 2 * inputs, act),
            SqueezeExcite(2 * inputs, 2, gate), nn.Conv2d(2 * inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.block(x) if self.skip else self.block(x)


def mobile(act: type, gate: nn.Module) -> nn.Module:
    return nn.Sequential(
        conv_block(3, 4, 3, 2, act=act), Inverted(4, 4, 1, act, gate), Inverted(4, 5, 2, act, gate),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), act(), nn.Dropout(0.2), nn.Linear(6, 3),
    )  # fmt: skip


class Shuffle(nn.Module):
    """ShuffleNet: half of the channels pass, grouped convolutions, channels shuffled by views."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch = (
            conv_block(3, 8),
            nn.Sequential(conv_block(4, 4, 1, groups=2), conv_block(4, 4, 3, groups=4)),
        )
        self.out, self.head = conv_block(8, 6, 1, groups=2), nn.Linear(6, 3)

    def forward(self, x):
        kept, changed = self.stem(x).chunk(2, dim=1)
        x = torch.cat((kept, self.branch(changed)), dim=1)
        b, c, h, w = x.size()
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
        return self.head(self.out(x).mean([2, 3]))


class UNet(nn.Module):
    """Down, up by transposed convolution and by interpolation, skips by concatenation after cropping."""

    def __init__(self, mode: str):
        super().__init__()
        self.down1, self.down2, self.bottom = conv_block(1, 3), conv_block(3, 4), conv_block(4, 5)
        self.up, self.merge, self.last = nn.ConvTranspose2d(5, 4, 2, stride=2), conv_block(8, 3), nn.Conv2d(6, 2, 1)
        self.mode = mode

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.up(self.bottom(F.max_pool2d(second, 2)))
        x = F.pad(x, [0, second.size(3) - x.size(3), 0, second.size(2) - x.size(2)])
        x = self.merge(torch.cat([second, x], 1))
        align = None if self.mode == "nearest" else True
        return self.last(
            torch.cat([first, F.interpolate(x, size=first.shape[2:], mode=self.mode, align_corners=align)], 1)
        )


def generator() -> nn.Module:
    """DCGAN's generator: a code grows into an image."""
    return nn.Sequential(
        nn.ConvTranspose2d(6, 5, 3, 1, 0, bias=False), nn.BatchNorm2d(5), nn.ReLU(True),
        nn.ConvTranspose2d(5, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(True),
        nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1, bias=False), nn.Tanh(),
    )  # fmt: skip


def superresolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(4, 8, 3, padding=1), nn.PixelShuffle(2),
                         nn.Conv2d(2, 1, 3, padding=1), nn.PixelUnshuffle(2), nn.Conv2d(4, 2, 1))  # fmt: skip


def one_dimensional() -> nn.Module:
    return nn.Sequential(nn.Conv1d(2, 4, 5, 2, dilation=2, padding="valid"), nn.GELU(), nn.BatchNorm1d(4), nn.MaxPool1d(2),
                         nn.Conv1d(4, 4, 3, padding="same", groups=2), nn.ELU(), nn.AdaptiveAvgPool1d(2), nn.Flatten(),
                         nn.Linear(8, 3))  # fmt: skip


def three_dimensional() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.BatchNorm3d(3), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
                         nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0)), nn.Softplus(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                         nn.Linear(4, 2))  # fmt: skip


class Residual(nn.Module):
    """A ResNet bottleneck stage with a projected shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = conv_block(3, 4, 3, 2)
        self.one, self.two, self.three = conv_block(4, 3, 1), conv_block(3, 3, 3, 2), nn.Conv2d(3, 6, 1, bias=False)
        self.norm, self.shortcut, self.fc = nn.BatchNorm2d(6), nn.Conv2d(4, 6, 1, 2, bias=False), nn.Linear(6, 3)

    def forward(self, x):
        x = F.max_pool2d(self.stem(x), 3, 2, 1)
        x = F.relu(self.norm(self.three(self.two(self.one(x)))) + self.shortcut(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


image = torch.zeros(2, 3, 9, 9)
MODELS = {
    "densenet": (Dense(), image),
    "inception": (Inception(), image),
    "mobilenet": (mobile(nn.Hardswish, nn.Hardsigmoid()), image),
    "efficientnet": (mobile(nn.SiLU, nn.Sigmoid()), image),
    "shufflenet": (Shuffle(), image),
    "resnet": (Residual(), torch.zeros(2, 3, 15, 15)),
    "unet-nearest": (UNet("nearest"), torch.zeros(2, 1, 9, 9)),
    "unet-bilinear": (UNet("bilinear"), torch.zeros(2, 1, 10, 10)),
    "dcgan": (generator(), torch.zeros(2, 6, 1, 1)),
    "pixelshuffle": (superresolution(), torch.zeros(2, 1, 6, 6)),
    "conv1d": (one_dimensional(), torch.zeros(2, 2, 24)),
    "conv3d": (three_dimensional(), torch.zeros(2, 1, 4, 6, 6)),
}


class Recurrent(nn.Module):
    def __init__(self, kind: type, **settings):
        super().__init__()
        self.cells = kind(3, 4, batch_first=True, **settings)
        self.head = nn.Linear(8 if settings.get("bidirectional") else 4, 2)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


small = torch.zeros(1, 3, 32, 32)
LIBRARY = {
    "ResNet": ({"embedding_size": 6, "hidden_sizes": [6, 8, 10], "depths": [1, 1, 1], "layer_type": "bottleneck"}, small),
    "MobileNetV1": ({"depth_multiplier": 0.125, "image_size": 32, "min_depth": 2}, small),
    "MobileNetV2": ({"depth_multiplier": 0.1, "image_size": 32, "min_depth": 2, "depth_divisible_by": 2}, small),
    "EfficientNet": ({"image_size": 32, "width_coefficient": 0.1, "depth_coefficient": 0.1, "depth_divisor": 2, "hidden_dim": 128}, small),
    "RegNet": ({"embedding_size": 6, "hidden_sizes": [6, 8, 8], "depths": [1, 1, 1], "groups_width": 2, "layer_type": "y"}, small),
    "ConvNext": ({"hidden_sizes": [4, 6, 8], "depths": [1, 1, 1], "num_stages": 3, "image_size": 32}, small),
    "PoolFormer": ({"hidden_sizes": [4, 6, 8, 8], "depths": [1, 1, 1, 1]}, torch.zeros(1, 3, 64, 64)),
    "Levit": ({"hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 3, 4], "depths": [1, 1, 1], "key_dim": [4, 4, 4], "image_size": 64}, torch.zeros(1, 3, 64, 64)),
    "MobileViT": ({"image_size": 64, "hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [4, 4, 6, 8, 8, 8, 12], "num_attention_heads": 2, "expand_ratio": 2.0}, torch.zeros(1, 3, 64, 64)),
}  # fmt: skip

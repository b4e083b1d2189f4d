"""Small models that several tests share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Skips, concatenation, a shared convolution, two inputs and two outputs."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.side, self.down = nn.Linear(5, 4), nn.Conv2d(8, 3, 3, stride=2)
        self.head = nn.Linear(27, 2)

    def forward(self, image, vector):
        x = F.relu(self.stem(image))
        x = x + self.shared(F.relu(self.shared(x)))
        y = self.side(vector)[:, :, None, None].expand(-1, -1, 7, 7)
        z = self.down(torch.cat([x.flip(1), y.roll(1, 1)], 1))
        return self.head(z.flatten(1)), {"middle": x[:, ::2].mean((2, 3))}


class Random(nn.Module):
    """A random network of convolutions with skips, groups, strides and a shared kernel, drawn from a list of numbers."""

    def __init__(self, plan: list[int]):
        super().__init__()
        self.plan = plan
        self.convolutions = nn.ModuleList(self._layer(number) for number in plan)

    @staticmethod
    def _layer(number: int) -> nn.Module:
        groups, stride, kernel = 1 + number % 2, 1 + number // 2 % 2, 1 + number // 4 % 3
        return nn.Conv2d(4, 4, kernel, stride=stride, padding=number // 12 % 2, groups=groups)

    def forward(self, x):
        seen = [x]
        for number, layer in zip(self.plan, self.convolutions, strict=True):
            y = layer(seen[-1])
            if number // 24 % 2 and layer.stride == (1, 1):
                y = layer(F.pad(y, (1, 1, 1, 1)))
            twins = [z for z in seen if z.shape == y.shape]
            seen.append(y + twins[0] if twins and number // 48 % 2 else y)
        return seen[-1].flatten(1)


class Gated(nn.Module):
    """b(x) * f(c(x)), then a head: c's starved unit decides by f(0) and by its bias whether b's partner is alive."""

    def __init__(self, f, bias: bool = False):
        super().__init__()
        self.b, self.c, self.head, self.f = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=bias), nn.Linear(2, 1), f

    def forward(self, x):
        return self.head(self.b(x) * self.f(self.c(x)))


def one_kernel() -> nn.Module:
    """A convolution of one channel to one, four taps wide."""
    return nn.Sequential(nn.Conv2d(1, 1, (1, 4)))

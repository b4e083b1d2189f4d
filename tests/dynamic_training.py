"""A short run of a dynamic sparse trainer on real digits (SET: drop the smallest, grow at random), saved at each update."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from graphsparse import data


class Small(nn.Module):
    """64 > 24 > 16 > 10 with biases."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 24), nn.Linear(24, 16), nn.Linear(16, 10)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


def train(folder: Path, updates: int = 8, seed: int = 0, every: int = 5) -> list[Path]:
    """Train and save ``step_<number>.pt`` at the start and after each update; a part of the weights is dropped and regrown."""
    torch.manual_seed(seed)
    with np.load(data.path("digits.npz")) as file:
        x, y = (torch.from_numpy(file[name]) for name in file.files[:2])
    x, y = x.float().reshape(len(x), -1)[:512] / 16, y.long()[:512]
    model = Small()
    kernels = {name: p for name, p in model.named_parameters() if p.dim() > 1}
    masks = {name: torch.rand(p.shape) < share for (name, p), share in zip(kernels.items(), (0.03, 0.08, 0.3))}
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    saved = []
    for update in range(updates + 1):
        for name, weight in kernels.items():
            weight.data[~masks[name]] = 0
        saved.append(folder / f"step_{update * every:06d}.pt")
        torch.save(model.state_dict(), saved[-1])
        for _ in range(every):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            for name, weight in kernels.items():
                weight.data[~masks[name]] = 0
        for name, weight in kernels.items():
            _regrow(weight.data, masks[name])
    return saved


def _regrow(weight: torch.Tensor, mask: torch.Tensor) -> None:
    """Drop the smallest fifth and grow as many at random, in place."""
    alive, free = mask.flatten().nonzero().ravel(), (~mask).flatten().nonzero().ravel()
    count = max(1, len(alive) // 5)
    smallest = alive[weight.abs().flatten()[alive].argsort()[:count]]
    grown = free[torch.randperm(len(free))[:count]]
    mask.view(-1)[smallest], mask.view(-1)[grown] = False, True
    weight.view(-1)[grown] = 0.1 * torch.randn(count)

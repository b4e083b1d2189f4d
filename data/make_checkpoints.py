"""Train the two digit networks, prune them by magnitude to 50x and 200x, save them. Run: python data/make_checkpoints.py

Global magnitude over the kernels, in rounds with fine-tuning between; biases and batch norms are never pruned.
Takes about a minute on one core and prints the table of data/README.md.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

from graphsparse import data, zoo

PLACE = Path(__file__).parent
ROUNDS = {50: 12, 200: 16}
EPOCHS_DENSE, EPOCHS_ROUND, EPOCHS_LAST = 40, 10, 60
Digits = tuple[Tensor, Tensor]


def train(model: nn.Module, digits: Digits, epochs: int, generator: torch.Generator) -> None:
    """Train on cross entropy with Adam, batches of 64, learning rate falling from 2e-3 to zero."""
    images, labels = digits
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, digits: Digits) -> float:
    """Return the share of images whose largest output is the label's."""
    images, labels = digits
    return (model.eval()(images).argmax(1) == labels).double().mean().item()


def prune_in_rounds(model: nn.Module, compression: int, digits: Digits, generator: torch.Generator) -> None:
    """Cut the kernels' smallest weights in equal ratios down to 1 in ``compression``, with fine-tuning after each cut."""
    kernels = [(module, "weight") for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    connections = left = sum(module.weight.numel() for module, _ in kernels)
    rounds = ROUNDS[compression]
    for number in range(1, rounds + 1):
        keep = round(connections * compression ** (-number / rounds))
        prune.global_unstructured(kernels, pruning_method=prune.L1Unstructured, amount=left - keep)
        left = keep
        train(model, digits, EPOCHS_LAST if number == rounds else EPOCHS_ROUND, generator)


def save(model: nn.Module, file: Path, *, as_masks: bool) -> None:
    """Write a state dict, with X_orig and X_mask as torch.nn.utils.prune leaves them, or with zeros for the mask."""
    if not as_masks:
        for module in model.modules():
            if prune.is_pruned(module) and hasattr(module, "weight_mask"):
                prune.remove(module, "weight")
    write = save_file if file.suffix == ".safetensors" else torch.save
    write(model.state_dict(), file)


def main() -> None:
    """Make all four checkpoints, each from its own dense network."""
    torch.set_num_threads(1)
    parts = [
        (torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in map(data.digits, ("train", "test"))
    ]
    for name, network in data.CHECKPOINTS.items():
        generator = torch.Generator().manual_seed(0)
        compression = int(name.split("-")[-1].split("x")[0])
        model = zoo.build(network)
        train(model, parts[0], EPOCHS_DENSE, generator)
        dense = accuracy(model, parts[1])
        prune_in_rounds(model, compression, parts[0], generator)
        print(f"| `{name}` | {network} | {dense:.1%} | {accuracy(model, parts[1]):.1%} |")
        save(model, PLACE / name, as_masks=name in ("digits-mlp-50x.pt", "digits-conv-200x.pt"))


if __name__ == "__main__":
    main()

"""Dead units out: parameters, MACs and seconds of a forward pass before and after, beside Torch-Pruning and torch-simplify.

Networks have random weights, biases and shifts and no training: what counts here is sizes, times and whether outputs
stay. Torch-Pruning is given the units that left ours, torch-simplify the masked model, in which the rows and columns of
those units are zero. Their outputs are compared with the masked model's as ours are. torch-simplify puts layers of its own
in place of convolutions, with a bias for each position: constants beside zero padding leave too, for inputs of one size.

Run: python benchmarks/compaction.py [--only NAME ...] [--device cuda] [--batch 8] [--rounds 5]
Needs: torch-pruning, and torch-simplify without what it asks for (pip install --no-deps torch-simplify); transformers for
ResNet-50 and the vision transformer.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from compaction_peers import by_simplify, by_torch_pruning, has_simplify
from timing import medians, report
from torch import nn

import graphsparse as gs
from graphsparse import zoo

HERE = Path(__file__).parent
COMPRESSIONS = 10, 100, 1000
METHODS = "random", "magnitude", "channels"


class Logits(nn.Module):
    """A model of the transformers library that gives its logits alone."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=x).logits


def resnet50() -> nn.Module:
    """ResNet-50 for 1,000 classes."""
    from transformers import ResNetConfig, ResNetForImageClassification

    settings: dict[str, Any] = {"num_labels": 1000}
    return Logits(ResNetForImageClassification(ResNetConfig(**settings)))


def small_vit() -> nn.Module:
    """A vision transformer of 6 blocks, width 192 and 3 heads for 64 x 64 images in patches of 8."""
    from transformers import ViTConfig, ViTForImageClassification

    settings: dict[str, Any] = {
        "hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3, "intermediate_size": 768,
        "image_size": 64, "patch_size": 8, "num_labels": 100,
    }  # fmt: skip
    return Logits(ViTForImageClassification(ViTConfig(**settings)))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet300100": (lambda: zoo.build("lenet300100"), (1, 28, 28)), "vgg19": (lambda: zoo.build("vgg19"), (3, 32, 32)),
    "vit": (small_vit, (3, 64, 64)), "resnet50": (resnet50, (3, 64, 64)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """A network with random weights, biases, shifts and running statistics, captured once for all of its rows."""

    name: str
    model: nn.Module
    network: gs.Network
    shape: tuple[int, ...]

    @classmethod
    def of(cls, name: str) -> Case:
        build, shape = NETWORKS[name]
        torch.manual_seed(0)
        model = build().eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    buffers = dict(module.named_buffers())
                    buffers["running_mean"].normal_(0, 0.1, generator=generator)
                    buffers["running_var"].uniform_(0.5, 2, generator=generator)
                bias = getattr(module, "bias", None)
                if isinstance(bias, nn.Parameter):
                    bias.normal_(0, 0.1, generator=generator)
        return cls(name, model, gs.network(model, torch.zeros(1, *shape)), shape)

    @cached_property
    def graph(self) -> gs.LayeredGraph:
        """What all prunings of the network start from."""
        return gs.export(self.network, norm_statistics=True)

    @cached_property
    def magnitude(self) -> dict[str, torch.Tensor]:
        """Each connection's largest magnitude as a threshold at which it is active: one sweep for all compressions."""
        weights = dict(self.model.named_parameters())
        return gs.effective_scores(self.graph, {name: weights[name].detach().abs() for name in self.graph.shapes})

    def masks(self, method: str, compression: float) -> Mapping[str, torch.Tensor]:
        """Masks at an effective compression; by channels: rows of the greatest norms, so few that the rest is about it."""
        if method == "random":
            return gs.prune(self.network, method="random/erk", compression=compression, norm_statistics=True)
        if method == "magnitude":
            return self._strongest(compression)
        found = {}
        kernels = [(name, p) for name, p in self.model.named_parameters() if p.dim() > 1 and name.endswith("weight")]
        for name, parameter in kernels[:-1]:
            norms = parameter.detach().flatten(1).norm(dim=1)
            count = max(1, round(len(norms) / compression**0.5))
            rows = torch.zeros(len(norms), dtype=torch.bool)
            rows[norms.topk(count).indices] = True
            found[name] = rows.reshape(-1, *[1] * (parameter.dim() - 1)).expand(parameter.shape).clone()
        return found

    def _strongest(self, compression: float) -> dict[str, torch.Tensor]:
        """The most connections that are active at a magnitude, but no more than the target; an error where none are."""
        ranked = torch.cat([scores.flatten() for scores in self.magnitude.values()]).sort(descending=True).values
        wanted = int(len(ranked) / compression)
        threshold = ranked[wanted]  # those above it are at most so many: paths come alive as a whole
        if not bool((ranked > threshold).any()):
            least = int((ranked >= ranked[0]).sum())
            raise gs.TargetError(
                f"none: the first path comes with {least:,} active, compression {len(ranked) / least:.3g}"
            )
        return {name: scores > threshold for name, scores in self.magnitude.items()}


def masked(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """A copy with zeros where masks say so."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
    return model


def tried(
    make: Callable[[], nn.Module], expected: torch.Tensor, x: torch.Tensor
) -> tuple[nn.Module | None, float | str]:
    """What another library makes, and how far its outputs are off; in place of the latter, why there is none."""
    try:
        model = make().eval()
    except Exception as error:
        return None, f"fails: {type(error).__name__}"
    return model, apart(copy.deepcopy(model).double(), expected, x)


def apart(model: nn.Module, expected: torch.Tensor, x: torch.Tensor) -> float | str:
    """The largest difference of outputs, relative to the largest output."""
    try:
        with torch.no_grad():
            return float((model(x) - expected).abs().max() / expected.abs().max())
    except Exception as error:
        return f"fails: {type(error).__name__}"


def forward(model: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """A call of the model that ends when its work does."""

    def run() -> None:
        with torch.no_grad():
            model(x)
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


def row(case: Case, method: str, compression: float, batch: int, device: str, rounds: int) -> dict[str, Any]:
    """One model under one mask: sizes, seconds and differences; or why there is no such mask."""
    head = {"network": case.name, "method": method, "compression": compression}
    try:
        masks = case.masks(method, compression)
    except gs.TargetError as error:
        return {**head, "units": str(error)}
    sparse, example = masked(case.model, masks), torch.zeros(1, *case.shape)
    resolution = "channel" if case.name in ("vit", "resnet50") else None
    start = time.perf_counter()
    found = gs.compact(copy.deepcopy(sparse).double(), example.double(), resolution=resolution)
    seconds = time.perf_counter() - start
    x = torch.randn(batch, *case.shape, generator=torch.Generator().manual_seed(2))
    expected = copy.deepcopy(sparse).double()(x.double()).detach()
    others = {
        "Torch-Pruning": tried(
            lambda: by_torch_pruning(masked(case.model, masks), found, example), expected, x.double()
        )
    }
    if has_simplify():
        others["torch-simplify"] = tried(lambda: by_simplify(masked(case.model, masks), example), expected, x.double())
    contenders = {"masked": sparse, "ours": copy.deepcopy(found.model).float()}
    contenders |= {key: made for key, (made, off) in others.items() if made is not None and not isinstance(off, str)}
    with torch.no_grad():
        times = medians({key: forward(each.to(device), x.to(device)) for key, each in contenders.items()}, rounds)
    one, two, frame = found.report.before, found.report.after, found.report.frame
    return {
        **head, "units": int(frame["units"].sum()), "dead": int(frame["dead"].sum()), "left": int(frame["left"].sum()),
        "parameters": f"{one.parameters:,} to {two.parameters:,}", "MACs": f"{one.macs:,} to {two.macs:,}",
        "masked ms": 1e3 * times["masked"], "ours ms": 1e3 * times["ours"],
        **{f"{key} ms": 1e3 * times[key] if key in times else "-" for key in others},
        "ours differs by": apart(found.model, expected, x.double()),
        **{f"{key} differs by": off for key, (_, off) in others.items()}, "compact takes s": seconds,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    title = (
        f"Dead units out on {given.device}, batches of {given.batch}: times in float32; outputs in float64, apart relative to "
        "the largest (goal: under 1e-10)"
    )
    rows: list[dict[str, Any]] = []
    for name in given.only:
        case = Case.of(name)
        for method in METHODS:
            for compression in COMPRESSIONS:
                rows.append(row(case, method, compression, given.batch, given.device, given.rounds))
                print(json.dumps(rows[-1]), flush=True)
    columns = max(rows, key=len)
    report(title, [{key: each.get(key, "-") for key in columns} for each in rows], HERE / "compaction.json")

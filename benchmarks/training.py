"""A training step with masks against one without, on the CPU and, where one is at hand, on the GPU.

On the CPU the seconds are those of the processor, of all threads; on a GPU those of the clock.

Run: OMP_NUM_THREADS=1 python benchmarks/training.py [cpu] [cuda]
"""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import medians, report
from torch import nn
from torch.nn.utils import parametrize, prune

import graphsparse as gs
from graphsparse import zoo
from graphsparse.training.callbacks.loop import Loop

HERE = Path(__file__).parent
DENSITY = 0.1
Step = Callable[[], None]


def transformer() -> nn.Module:
    """A small encoder: 4 layers, width 256."""
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


def models(device: str) -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """The models with their batches: larger ones where there is a GPU."""
    images, rows = (256, 64) if device == "cuda" else (16, 16)
    return {
        "ResNet-18": (zoo.build("resnet18"), torch.randn(images, 3, 64, 64)),
        "transformer": (transformer(), torch.randn(rows, 64, 256)),
    }


class Masked(nn.Module):
    """What a parametrisation does with a mask."""

    def __init__(self, mask: torch.Tensor):
        super().__init__()
        self.register_buffer("mask", mask)
        self.mask: torch.Tensor

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.where(self.mask, weight, 0.0)


def kept(model: nn.Module, masks: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    gs.keep_masks(model, masks, optimizer)


def pruned(model: nn.Module, masks: dict[str, torch.Tensor], _: Any = None) -> None:
    """torch.nn.utils.prune."""
    for name, mask in masks.items():
        path, _, leaf = name.rpartition(".")
        prune.custom_from_mask(model.get_submodule(path), leaf, mask)


def parametrised(model: nn.Module, masks: dict[str, torch.Tensor], _: Any = None) -> None:
    """torch.nn.utils.parametrize."""
    for name, mask in masks.items():
        path, _, leaf = name.rpartition(".")
        parametrize.register_parametrization(model.get_submodule(path), leaf, Masked(mask))


def filled(model: nn.Module, masks: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    """What people write by hand: masked_fill_ of weights after each step, and of gradients before it."""
    found = [(model.get_parameter(name), ~mask) for name, mask in masks.items()]

    def before(*_: Any) -> None:
        for parameter, dropped in found:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(dropped, 0.0)

    def after(*_: Any) -> None:
        with torch.no_grad():
            for parameter, dropped in found:
                parameter.masked_fill_(dropped, 0.0)

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


WAYS: dict[str, Callable[..., None] | None] = {
    "no masks": None, "keep_masks": kept, "masked_fill_ by hand": filled, "torch.nn.utils.prune": pruned,
    "torch.nn.utils.parametrize": parametrised,
}  # fmt: skip


def one_step(
    model: nn.Module,
    x: torch.Tensor,
    way: Callable[..., None] | None,
    masks: dict[str, torch.Tensor],
    form: str = "fused",
) -> Step:
    """A step of AdamW under masks that are kept in this way; a transformer's gradients are clipped, as is usual.

    ``form`` of AdamW: "fused" or "foreach". The latter calls MKL's square root on a CPU, which takes five times as long for
    zeros, whoever made them.
    """
    clipped, prepared = isinstance(model, nn.TransformerEncoder), way in (pruned, parametrised)
    if way is not None and prepared:
        way(model, masks)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=form == "fused", foreach=form == "foreach")
    if way is not None and not prepared:
        way(model, masks, optimizer)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        if clipped:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def works(step: Step) -> bool:
    """Whether two steps run."""
    try:
        step()
        step()
    except RuntimeError as error:
        print(error)
        return False
    return True


def memory_of(step: Step) -> float:
    """The most memory of the GPU in a step, in MB."""
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() / 1e6


def steps(device: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each model and way; on a GPU each way is alone there, so that memory can be told."""
    rows = []
    for (name, (model, x)), form in itertools.product(models(device).items(), ("fused", "foreach")):
        model, x = model.to(device), x.to(device)
        masks = {n: torch.rand(p.shape, device=device) < DENSITY for n, p in model.named_parameters() if p.dim() > 1}
        made = {way: one_step(copy.deepcopy(model), x, keep, masks, form) for way, keep in WAYS.items()}
        working = {way: step for way, step in made.items() if works(step)}
        times = medians(working, rounds if x.dim() == 4 else 3 * rounds, clock_of(device))  # a short step varies more
        base = times["no masks"]
        for way in made:  # torch.nn.utils.prune fails: attention reads out_proj.weight past its hook
            seconds = times.get(way)
            row: dict[str, Any] = {
                "device": device_name(device), "model": name, "AdamW": form, "way": way, "ms": "fails", "slower %": "fails",
            }  # fmt: skip
            if seconds is not None:
                row |= {"ms": seconds * 1e3, "slower %": 100 * (seconds / base - 1)}
            rows.append(row)
    return rows


def peak(name: str, way: str, device: str) -> float:
    """The most memory of a step, in MB: of the GPU, or of this whole process."""
    model, x = models(device)[name]
    model, x = model.to(device), x.to(device)
    masks = {n: torch.rand(p.shape, device=device) < DENSITY for n, p in model.named_parameters() if p.dim() > 1}
    step = one_step(model, x, WAYS[way], masks)
    if not works(step):
        return float("nan")
    if device == "cuda":
        return memory_of(step)
    status = Path("/proc/self/status").read_text()  # resource.getrusage would count the parent's memory too
    return float(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def memory(device: str) -> list[dict[str, Any]]:
    """What each way needs beyond a step without masks; a process for each, so that none finds memory of another."""
    rows = []
    for name, (model, _) in models(device).items():
        entries = sum(p.numel() for p in model.parameters() if p.dim() > 1)
        base = 0.0
        for way in WAYS:
            command = [sys.executable, __file__, "peak", name, way, device]
            most = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
            base = base or most
            rows.append({
                "device": device_name(device), "model": name, "way": way, "MB": most, "MB more": most - base,
                "bool masks MB": entries / 1e6, "weights MB": entries * 4 / 1e6,
            })  # fmt: skip
    return rows


def looks(device: str) -> list[dict[str, Any]]:
    """What it takes to measure direct and effective sparsity every 100 steps, in steps."""
    rows = []
    for name, (model, x) in models(device).items():
        model, x = model.to(device), x.to(device)
        masks = {n: torch.rand(p.shape, device=device) < DENSITY for n, p in model.named_parameters() if p.dim() > 1}
        network = gs.network(model, x[:1])
        loop = Loop(gs.keep_masks(model, masks), network)
        times = medians({"step": one_step(model, x, None, masks), "look": loop.measure}, 5, clock_of(device))
        rows.append({
            "device": device_name(device), "model": name, "step ms": times["step"] * 1e3, "look ms": times["look"] * 1e3,
            "% of 100 steps": times["look"] / times["step"],
        })  # fmt: skip
    return rows


def clock_of(device: str) -> Callable[[], float]:
    """Other programs on the machine do not count where the processor works itself."""
    return time.perf_counter if device == "cuda" else time.process_time


def device_name(device: str) -> str:
    """The GPU's own name; "cpu" for a CPU, which the machine's line names."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def main(devices: list[str]) -> None:
    """Every table, for each of the devices."""
    print(f"Devices: {', '.join(device_name(device) for device in devices)}. sparsimony is left out: it needs numpy 1.")
    tables: dict[str, tuple[str, Callable[[str], list[dict[str, Any]]]]] = {
        "training": (
            "A step of AdamW, density 0.1, with masks and without (goal: 3 % slower)",
            lambda device: steps(device, 5 if device == "cpu" else 50),
        ),
        "training_memory": ("Most memory of a step (goal: at most the masks more)", memory),
        "looks": ("Direct and effective sparsity measured every 100 steps, unrolled (goal: under 1 %)", looks),
    }
    for file, (title, rows_of) in tables.items():
        report(title, [row for device in devices for row in rows_of(device)], HERE / f"{file}.json")


if __name__ == "__main__":
    torch.manual_seed(0)
    if sys.argv[1:2] == ["peak"]:
        print(peak(*sys.argv[2:]))
    else:
        main(sys.argv[1:] or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])

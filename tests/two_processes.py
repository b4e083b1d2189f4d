"""What two processes do together in tests of training: gloo on the CPU, results written to a file by each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

import graphsparse as gs
from graphsparse.training.dynamic import Dynamic
from graphsparse.training.gradual import Gradual
from graphsparse.training.schedules import Schedule, rounds

Masks = dict[str, torch.Tensor]
STEPS = 3


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def masks() -> Masks:
    draw = torch.Generator().manual_seed(1)
    return {n: torch.rand(p.shape, generator=draw) < 0.4 for n, p in build().named_parameters() if p.dim() > 1}


def batch(step: int, rank: int) -> torch.Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(10 * step + rank))


def optimizer_of(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1, **options)


def sharded(model: nn.Module) -> Any:
    mesh = init_device_mesh("cpu", (2,))
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def partly_sharded(model: nn.Module) -> nn.Module:
    fully_shard(model[0], mesh=init_device_mesh("cpu", (2,)))
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, rank: int) -> dict[str, Any]:
    """Some steps; what gradients, norms and weights are by then, gathered."""
    norms, gradients = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        model(batch(step, rank)).square().mean().backward()
        gradients = {name: gathered(p.grad).clone() for name, p in named(model).items()}
        norms.append(float(gathered(torch.nn.utils.get_total_norm([g for g in gradients.values()]))))
        optimizer.step()
    weights = {name: gathered(p.detach()).clone() for name, p in named(model).items()}
    return {"weights": weights, "gradients": gradients, "norms": norms}


def named(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): parameter for name, parameter in model.named_parameters()}


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def spread_before(rank: int, folder: Path) -> Any:
    model = DistributedDataParallel(build())
    optimizer = optimizer_of(model)
    gs.keep_masks(model, masks(), optimizer)
    return train(model, optimizer, rank)


def spread_after(rank: int, folder: Path) -> Any:
    inner = build()
    gs.keep_masks(inner, masks())
    model = DistributedDataParallel(inner)
    return train(model, optimizer_of(model), rank)


def sharded_before(rank: int, folder: Path) -> Any:
    model = sharded(build())
    optimizer = optimizer_of(model, foreach=True)
    gs.keep_masks(model, masks(), optimizer)
    return train(model, optimizer, rank)


def sharded_after(rank: int, folder: Path) -> Any:
    inner = build()
    gs.keep_masks(inner, masks())
    model = sharded(inner)
    return train(model, optimizer_of(model, foreach=True), rank)


def sharded_in_part(rank: int, folder: Path) -> Any:
    """Plain and sharded parameters together; gradients of plain ones are not averaged, so every process has one batch."""
    model = partly_sharded(build())
    optimizer = optimizer_of(model, foreach=False)
    gs.keep_masks(model, masks(), optimizer)
    return train(model, optimizer, 0)


def captured(rank: int, folder: Path) -> Any:
    """A network of a sharded model is refused; one that was made before is pruned by the handle's masks."""
    model = build()
    network = gs.network(model, torch.zeros(1, 6))
    graph = gs.export(network, {})
    handle = gs.keep_masks(sharded(model), masks())
    try:
        gs.network(model, torch.zeros(1, 6))
        said = ""
    except gs.CaptureError as error:
        said = str(error)
    return {"said": said, "active": gs.sparsity(graph.with_masks(handle.masks)).active}


def sharded_since(rank: int, folder: Path) -> Any:
    """What schedules say where their network is of the model itself, and that has been sharded since."""
    said = []
    for make in SCHEDULES.values():
        model = build()
        network, handle = gs.network(model, torch.zeros(1, 6)), gs.keep_masks(model, masks())
        schedule = make(handle, network, 0)
        sharded(model)
        for asked in (lambda: schedule.at(6), lambda: make(handle, network, 0)):
            try:
                asked()
            except gs.GraphsparseError as error:
                said.append(str(error))
    return said


SCHEDULES: dict[str, Callable[[Any, Any, int], Any]] = {
    "gradual": lambda handle, network, rank: Gradual(handle, network, Schedule(0.7, 2, 6, 2, shape="linear"), "lamp"),
    "gradual, from data, rewound": lambda handle, network, rank: Gradual(
        handle, network, rounds(0.7, 2, 3), "snip", data=[(batch(0, rank), torch.arange(4) % 3)], rewind_to=1
    ),
    "set": lambda handle, network, rank: Dynamic(handle, network, every=2, end=9, grow="random", seed=3),
    "rigl": lambda handle, network, rank: Dynamic(handle, network, every=2, end=9),
}
"""Schedules by a handle, a network and a rank; data are those of the rank, and the first one decides."""


def follow(model: nn.Module, handle: Any, schedule: Any, ranks: tuple[int, ...]) -> dict[str, Any]:
    """Train by a schedule on the batches of these ranks, two to a step; masks and words at each change, and weights."""
    optimizer, changes = optimizer_of(model, foreach=False), []
    for step in range(1, 7):
        optimizer.zero_grad()
        for last in (False, True):
            x = torch.cat([batch(2 * step + last, rank) for rank in ranks])
            with model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext():
                if isinstance(model, FSDPModule):
                    model.set_requires_gradient_sync(last)
                model(x).square().mean().backward()
        optimizer.step()
        change = schedule.at(step)
        if change is not None:
            changes.append((str(change), handle.masks))
        with torch.no_grad():
            model(x)  # an evaluation: until the next step `fully_shard` shows whole parameters
        handle.apply()
    return {"changes": changes, "weights": {name: gathered(p.detach()).clone() for name, p in named(model).items()}}


def scheduled(wrap: Callable[[nn.Module], Any], masked_first: bool, rank: int) -> dict[str, Any]:
    found = {}
    for kind, make in SCHEDULES.items():
        inner = build()
        network = gs.network(copy.deepcopy(inner), torch.zeros(1, 6))
        start = {} if "gradual" in kind else masks()
        handle = gs.keep_masks(inner, start) if masked_first else None
        model = wrap(inner)
        handle = handle or gs.keep_masks(model, start)
        found[kind] = follow(model, handle, make(handle, network, rank), (rank,))
    return found


def scheduled_spread(rank: int, folder: Path) -> Any:
    return scheduled(DistributedDataParallel, True, rank)


def scheduled_sharded(rank: int, folder: Path) -> Any:
    return scheduled(lambda model: fully_shard(model, mesh=init_device_mesh("cpu", (2,))), False, rank)


def refused(rank: int, folder: Path) -> Any:
    """A target that the first process finds out of reach is an error in both."""
    model = build()
    network = gs.network(copy.deepcopy(model), torch.zeros(1, 6))
    pruner = Gradual(gs.keep_masks(sharded(model), {}), network, Schedule(0.99, 1, shape="one-shot"))
    try:
        pruner.at(1)
    except gs.GraphsparseError as error:
        return f"{type(error).__name__}: {error}"


def saved_and_loaded(rank: int, folder: Path) -> Any:
    """Masks in a distributed checkpoint, and back into a handle that has others by then."""
    model = sharded(build())
    handle = gs.keep_masks(model, masks())
    save({"model": model.state_dict(), "masks": handle}, checkpoint_id=str(folder / "checkpoint"))
    handle.set({name: ~mask for name, mask in masks().items()})
    others = handle.masks
    load({"masks": handle}, checkpoint_id=str(folder / "checkpoint"))
    return {"others": others, "masks": handle.masks}


CASES: tuple[Callable[[int, Path], Any], ...] = (
    spread_before, spread_after, sharded_before, sharded_after, sharded_in_part, captured, sharded_since,
    scheduled_spread, scheduled_sharded, refused, saved_and_loaded,
)  # fmt: skip
APART = CASES[5:]  # they do not train by themselves


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save({case.__name__: case(rank, Path(folder)) for case in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()

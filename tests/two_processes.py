"""What two processes do together in tests of training: gloo on the CPU, results written to a file by each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import graphsparse as gs
from graphsparse.training.dynamic import Dynamic
from graphsparse.training.gradual import Gradual
from graphsparse.training.schedules import rounds

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


def scheduled(rank: int, folder: Path) -> Any:
    """What schedules say of a model that is sharded after them, and before; the network is that of a whole copy."""
    said = []
    kinds = (Gradual, {"schedule": rounds(0.9, 1, 1)}), (Dynamic, {"every": 1, "end": 9, "grow": "random"})
    for kind, options in kinds:
        model = build()
        network, handle = gs.network(copy.deepcopy(model), torch.zeros(1, 6)), gs.keep_masks(model, masks())
        before = kind(handle, network, **options)
        sharded(model)
        for asked in (lambda: before.at(1), lambda: kind(handle, network, **options)):
            try:
                asked()
            except gs.GraphsparseError as error:
                said.append(str(error))
    return said


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
    spread_before, spread_after, sharded_before, sharded_after, sharded_in_part, captured, scheduled, saved_and_loaded,
)  # fmt: skip
APART = (captured, scheduled, saved_and_loaded)  # they do not train


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save({case.__name__: case(rank, Path(folder)) for case in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()

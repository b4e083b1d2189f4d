"""Whole experts of a mixture, which leave with their row of the router where outputs see neither.

That is so where each expert has a gate of its own, such as a sigmoid: nothing reads the gate of an expert that gives zero.
A softmax over the router's rows, and a choice of the best of them, read every row: without one the others change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from graphsparse.compaction.modules import KERNELS, set_widths
from graphsparse.compaction.plan import Plan
from graphsparse.compaction.tensors import Index, remade, shaken, taken
from graphsparse.networks.models import named_tensors


@dataclass(frozen=True, eq=False)
class Mixture:
    """Experts of which some leave, ``gone`` (experts,).

    All of them stand in ``lists`` of modules, and along ``axes`` of tensors, by name. ``router`` are those of ``axes`` that
    are of the router.
    """

    owner: str
    gone: np.ndarray
    lists: tuple[str, ...]
    axes: Mapping[str, int]
    router: Mapping[str, int]

    @property
    def stay(self) -> np.ndarray:
        """The experts that stay."""
        return np.flatnonzero(~self.gone)

    def __str__(self) -> str:
        numbers = ", ".join(map(str, np.flatnonzero(self.gone)))
        return f"Experts {numbers} of {self.owner or 'the model'} left with their rows of the router."


@dataclass(frozen=True, eq=False)
class Fewer:
    """A model with fewer experts: ``names`` gives each of its tensors its old name, ``index`` the old indices."""

    model: nn.Module
    names: Mapping[str, str]
    index: Index


def mixtures_of(model: nn.Module, plan: Plan, keep: Iterable[str] = ()) -> list[Mixture]:
    """The mixtures in which outputs see the router's rows of some experts alone; without those that ``keep`` names."""
    found: dict[str, Mixture] = {}
    seen: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}  # a tied table has rows along either of its axes
    for use, each in zip(plan.kernels, plan.life.seen, strict=True):
        seen[use.name, each.shape] = seen.get((use.name, each.shape), False) | each
    for use in plan.kernels:
        gone = ~seen[use.name, use.rows.shape].ravel()
        if len(use.rows) == 1 and use.axes and gone.any() and not gone.all() and len(use.axes[0].at) == len(gone):
            router, _, _ = use.name.rpartition(".")
            owner = router.rpartition(".")[0]
            lists, axes = _experts(model, owner, router, len(gone))
            own = tuple(f"{path}." for path in lists)
            kept = any(name in {use.name, *axes} or name.startswith(own) for name in keep)
            if (lists or axes) and owner not in found and not kept:
                inside = [(name, tensor) for name, tensor in named_tensors(model) if name.rpartition(".")[0] == router]
                rows = {name: 0 for name, tensor in inside if tuple(tensor.shape) == gone.shape}
                rows[use.name] = use.axes[0].axis
                found[owner] = Mixture(owner, gone, lists, {**axes, **rows}, rows)
    return list(found.values())


def _experts(model: nn.Module, owner: str, router: str, count: int) -> tuple[tuple[str, ...], dict[str, int]]:
    """Where so many experts stand within an owner: lists of modules, and parameters in which they are stacked."""
    lists: list[str] = []
    axes: dict[str, int] = {}
    for path, module in model.get_submodule(owner).named_modules(prefix=owner):
        if isinstance(module, nn.ModuleList) and len(module) == count:
            lists.append(path)
        stacked = {
            name: p for name, p in module.named_parameters(path, recurse=False) if len(p) == count and p.dim() > 1
        }
        if path != router and not isinstance(module, KERNELS) and any(p.dim() == 3 for p in stacked.values()):
            axes |= dict.fromkeys(stacked, 0)
    inner = [path for path in lists if any(path.startswith(f"{other}.") for other in lists)]
    return tuple(path for path in lists if path not in inner), axes


def without(model: nn.Module, mixtures: Iterable[Mixture]) -> Fewer:
    """A copy of a model without the experts that leave; the experts after them move up in their lists."""
    mixtures = list(mixtures)
    cuts = {name: (axis, torch.from_numpy(each.stay)) for each in mixtures for name, axis in each.axes.items()}
    stay = {path: each.stay.tolist() for each in mixtures for path in each.lists}

    def index_of(name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        axis, at = cuts.get(name, (-1, None))
        return tuple(at if a == axis and at is not None else torch.arange(n) for a, n in enumerate(tensor.shape))

    index = {name: index_of(name, tensor) for name, tensor in named_tensors(model)}
    made = remade(model, lambda name, tensor: taken(tensor, index[name]).clone())
    for path, kept in stay.items():
        whole = made.get_submodule(path)
        assert isinstance(whole, nn.ModuleList)
        for number in reversed(range(len(whole))):  # in its place: the list may be of a class of its own
            if number not in kept:
                del whole[number]
    for each in mixtures:
        for module in made.get_submodule(each.owner).modules():
            for name, held in list(vars(module).items()):
                if type(held) is int and held == len(each.gone) and "expert" in name:
                    setattr(module, name, len(each.stay))
    set_widths(made, {}, {})
    names = {name: _old(name, stay) for name, _ in named_tensors(made)}
    return Fewer(made, names, {name: index[old] for name, old in names.items()})


def attempts(model: nn.Module, mixture: Mixture) -> Iterator[nn.Module]:
    """Models whose outputs must be those of the model, or else the experts of the mixture stay."""
    yield without(model, [mixture]).model
    yield from shaken(model, {name: (axis, np.flatnonzero(mixture.gone)) for name, axis in mixture.router.items()})


def _old(name: str, stay: Mapping[str, list[int]]) -> str:
    for path, kept in stay.items():
        name = re.sub(rf"^{re.escape(path)}\.(\d+)\.", lambda hit: f"{path}.{kept[int(hit[1])]}.", name)
    return name


def _shapes(module: nn.Module) -> tuple[object, ...]:
    return tuple((name, parameter.shape) for name, parameter in module.named_parameters())


def unread(plan: Plan, model: nn.Module) -> Iterator[str]:
    """Notes on dead experts that stay because outputs see their rows of the router."""
    live: dict[str, bool] = {}
    for use, each in zip(plan.kernels, plan.life.live, strict=True):
        live[use.name] = live.get(use.name, False) or bool(each.any())
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) < 2 or len(set(map(_shapes, module))) > 1:
            continue
        inside = [[live[name] for name in live if name.startswith(f"{path}.{at}.")] for at in range(len(module))]
        dead = [str(at) for at, kernels in enumerate(inside) if kernels and not any(kernels)]
        owner = path.rpartition(".")[0]
        beside = [use for use in plan.kernels if use.name.rpartition(".")[0].rpartition(".")[0] == owner]
        if dead and any(use.rows.size == len(module) for use in beside):
            yield (
                f"Experts {', '.join(dead)} of {path} are dead and stay: outputs see their rows of the router, as with a "
                "softmax over all rows or a choice of the best."
            )

"""The constants that dead units hold, added to the biases of those who read them.

A dead unit that an output sees holds the same number for every input. Where that number is the same at every position
too, what a kernel makes of it is one number for each row, which the kernel's bias takes over. Next to zero padding it is
not: then the unit stays. Measured on the masked model in double precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from graphsparse.compaction.bundles import Bundles, Life
from graphsparse.compaction.cut import Cut
from graphsparse.compaction.modules import CONVOLUTIONS, TRANSPOSED, is_kernel
from graphsparse.compaction.uses import KernelUse
from graphsparse.surgery.checking import Inputs, run

UNEVEN = 1e-12  # relative, of numbers in double precision


@dataclass(eq=False)
class Reader:
    """A module that applies the kernel of this name, and what it was given.

    ``columns`` (uses, channels) are the bundles of its inputs. ``seen`` (outputs,): which of its outputs an output of the
    model sees. ``own_bias``: no other module has its bias. ``held`` are the channels that are dead. ``given`` has for each
    call the arguments after the first, the shape of the first, and its part in the channels ``held``.
    """

    name: str
    path: str
    module: nn.Module
    columns: np.ndarray
    seen: np.ndarray
    own_bias: bool
    held: np.ndarray
    given: list[tuple[tuple[Any, ...], torch.Size, torch.Tensor]] = field(default_factory=list)

    def axis(self, dims: int) -> int:
        """The axis of channels in a value of so many axes."""
        spatial = self.module.weight.dim() - 2 if type(self.module) in (*CONVOLUTIONS, *TRANSPOSED) else 0  # type: ignore
        return dims - 1 - spatial

    def record(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """Note what dead channels hold in a call."""
        value = given[0].detach()
        part = value.index_select(self.axis(value.dim()), torch.from_numpy(self.held).to(value.device))
        self.given.append((given[1:], value.shape, part))

    @torch.no_grad()
    def amounts(self, gone: np.ndarray) -> torch.Tensor | None:
        """What the channels that are ``gone`` add to each output, (outputs, positions of all calls); None if nothing."""
        columns = []
        wanted = torch.from_numpy(gone[self.held])
        for rest, shape, part in self.given:
            axis = self.axis(len(shape))
            chosen = part.index_select(axis, wanted.nonzero()[:, 0].to(part.device))
            if not bool((chosen != 0).any()):
                continue
            at = torch.from_numpy(self.held[gone[self.held]]).to(part.device)
            value = part.new_zeros(shape).index_copy(axis, at, chosen)
            bias = getattr(self.module, "bias", None)
            without = {} if bias is None else {"bias": torch.zeros_like(bias)}
            made = functional_call(self.module, without, (value, *rest))
            columns.append(made.movedim(self.axis(made.dim()), 0).flatten(1))
        return torch.cat(columns, 1) if columns else None


def readers_of(
    model: nn.Module, names: Mapping[str, str], kernels: Sequence[KernelUse], bundles: Bundles, life: Life
) -> tuple[list[Reader], np.ndarray]:
    """The modules that read dead channels; and the bundles of constants that are read by something else.

    ``names`` gives every name of a parameter its first one.
    """
    uses: dict[str, list[int]] = {}
    for number, use in enumerate(kernels):
        uses.setdefault(use.name, []).append(number)
    modules = dict(model.named_modules())
    holders = Counter(id(each) for module in modules.values() for each in module._parameters.values())
    places: dict[str, list[str | None]] = {}
    for path, module in modules.items():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                full, plain = f"{path}.{leaf}".lstrip("."), leaf == "weight" and is_kernel(module)
                places.setdefault(names.get(full, full), []).append(path if plain else None)
    found, stuck = [], [np.empty(0, np.int64)]
    for name, numbers in uses.items():
        columns = [kernels[number].columns.ravel() for number in numbers]
        paths = [place for place in places.get(name, []) if place is not None]
        if not paths or None in places[name] or any(len(each) != len(columns[0]) for each in columns):
            stuck += [each[each >= 0] for each in columns]
            continue
        dead = np.flatnonzero(~np.append(life.alive, True)[np.stack(columns)].any(0))
        seen = np.any([life.seen[number].ravel() for number in numbers], axis=0)
        for path in paths if len(dead) else ():
            bias = getattr(modules[path], "bias", None)
            own = bias is None or holders[id(bias)] == 1
            found.append(Reader(name, path, modules[path], np.stack(columns), seen, own, dead))
    other = np.concatenate(stuck)
    return found, np.unique(other[life.constant[other]])


def measure(model: nn.Module, readers: Iterable[Reader], inputs: Iterable[Inputs]) -> None:
    """Run the model and let readers note what they are given."""
    hooks = [model.get_submodule(reader.path).register_forward_pre_hook(reader.record) for reader in readers]
    try:
        for given in inputs:
            run(model, given)
    finally:
        for hook in hooks:
            hook.remove()


def read_elsewhere(readers: Sequence[Reader], runs: int) -> np.ndarray:
    """The bundles that a kernel reads in calls that no module makes, as `F.linear` does with a module's weight."""
    calls: Counter[str] = Counter()
    for reader in readers:
        calls[reader.name] += len(reader.given)
    found = [each.columns.ravel() for each in readers if calls[each.name] < runs * len(each.columns)]
    bundles = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
    return bundles[bundles >= 0]


def fold(readers: Sequence[Reader], cut: Cut) -> dict[str, torch.Tensor]:
    """What each reader's bias takes over, by the module's path, in float64. ``cut`` is changed: what no bias can take stays."""
    while True:
        cut.settle()
        biases, changed = {}, False
        for reader in readers:
            gone = ~cut.stays[reader.columns].any(0)
            amounts = reader.amounts(gone)
            if amounts is None:
                continue
            largest = amounts.abs().amax(1)
            uneven = (amounts.amax(1) - amounts.amin(1)) > UNEVEN * largest if reader.own_bias else largest > 0
            wanted = torch.from_numpy(reader.seen).to(amounts.device)
            if bool((uneven & wanted).any()):
                changed |= cut.keep(_blamed(reader, gone), "padding" if reader.own_bias else "bias")
            biases[reader.path] = torch.where(wanted & ~uneven, amounts[:, 0], 0.0)
        if not changed:
            return {path: amount for path, amount in biases.items() if bool((amount != 0).any())}


def _blamed(reader: Reader, gone: np.ndarray) -> np.ndarray:
    """The bundles of the channels that are not zero."""
    zero = np.ones(len(reader.held), bool)
    for _, shape, part in reader.given:
        zero &= ~(part != 0).movedim(reader.axis(len(shape)), 0).flatten(1).any(1).cpu().numpy()
    blamed = gone.copy()
    blamed[reader.held[zero]] = False
    found = reader.columns[:, blamed]
    return np.unique(found[found >= 0])

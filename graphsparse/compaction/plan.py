"""The plan of a compaction: what ties the units of a model, which of them are dead, and which leave."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from graphsparse.capture import Network
from graphsparse.compaction.bundles import Bundles, read_bundles
from graphsparse.compaction.cut import Cut, Ties
from graphsparse.compaction.dead import Life, life_of
from graphsparse.compaction.modules import equal_widths
from graphsparse.compaction.tensors import named_tensors
from graphsparse.compaction.uses import AxisUse, KernelUse, entries_use, kernel_use
from graphsparse.compaction.values import asked_by_values
from graphsparse.errors import MaskError


@dataclass(frozen=True, eq=False)
class Plan:
    """``kernels`` are in program order, as in ``bundles`` and ``life``; ``names`` gives every tensor its first name."""

    bundles: Bundles
    life: Life
    kernels: tuple[KernelUse, ...]
    names: Mapping[str, str]
    cut: Cut


def plan_of(network: Network, resolution: str, keep: Iterable[str] = ()) -> Plan:
    """What may leave a network whose weights are zero where masks say so; ``keep`` are patterns of names.

    Raises MaskError where a pattern fits no name.
    """
    model = network.runnable
    bundles = read_bundles(network)
    life = life_of(network, bundles, resolution)
    names = _first_names(model)
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(model)}
    kernels = tuple(kernel_use(block, shapes[block.parameter], bundles.of) for block in bundles.kernels)
    uses, stuck = _uses(bundles, shapes)
    asked = asked_by_values(bundles, shapes, _buffers(network))
    kernels = tuple(
        replace(use, columns=asked.sides[use.name][None]) if use.name in asked.sides else use for use in kernels
    )
    axes = (*(use for kernel in kernels for use in kernel.axes), *uses, *asked.uses)
    equal = tuple(tuple((names[name], axis) for name, axis in group) for group in equal_widths(model))
    ties = Ties(asked.tables, kernels, tuple(_distinct(axes)), shapes, equal)
    cut = Cut.of(ties, life.alive)
    cut.keep(np.flatnonzero(bundles.fixed), "fixed")
    wanted = {names[name] for name in fitting(keep, names)}
    for use in axes:
        if use.name in wanted:
            cut.keep(use.bundles.ravel(), "keep")
    cut.keep(np.concatenate([asked.stuck, stuck, *(kernel.stuck for kernel in kernels)]), "numbers")
    return Plan(bundles, life, kernels, names, cut.settle())


def fitting(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    """The names that patterns fit. Raises MaskError where one fits none."""
    found = set()
    for pattern in patterns:
        fitting = fnmatch.filter(names, pattern)
        if not fitting:
            raise MaskError(
                "keep= must hold names of parameters, or patterns as 'layer1.*' that fit some", received=pattern
            )
        found.update(fitting)
    return found


def _first_names(model: nn.Module) -> dict[str, str]:
    """The first name of every parameter and buffer by each of its names."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in named_tensors(model)}


def _buffers(network: Network) -> dict[str, str]:
    """The buffers that the program takes, by the names of its inputs."""
    return dict(network.program.graph_signature.inputs_to_buffers)


def _uses(bundles: Bundles, shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[AxisUse], np.ndarray]:
    """The uses of biases and scales, and the bundles that they hold fast."""
    found, stuck = [], [np.empty(0, np.int64)]
    for stage in bundles.stages:
        if not len(stage.units):
            continue
        assert stage.parameter is not None and stage.entries is not None
        for use in entries_use(stage.parameter, shapes[stage.parameter], stage.entries, bundles.of[stage.units]):
            found.append(use) if isinstance(use, AxisUse) else stuck.append(use)
    return found, np.concatenate(stuck)


def _distinct(uses: tuple[AxisUse, ...]) -> list[AxisUse]:
    """The same without repeats."""
    found: dict[tuple[object, ...], AxisUse] = {}
    for use in uses:
        key = use.name, use.axis, use.at.tobytes(), use.bundles.tobytes(), use.beside is None
        found.setdefault(key, use)
    return list(found.values())


def unit_map(cut: Cut, model: nn.Module, names: Mapping[str, str]) -> dict[str, tuple[torch.Tensor, ...]]:
    """The old index of each index that stays, for every axis of every tensor."""
    flags = cut.flags()
    found = {}
    for name, tensor in named_tensors(model):
        first = names[name]
        found[name] = tuple(
            torch.from_numpy(np.flatnonzero(flags[first, axis])) if (first, axis) in flags else torch.arange(size)
            for axis, size in enumerate(tensor.shape)
        )
    return found


def groups_left(plan: Plan, cut: Cut) -> dict[str, int]:
    """How many groups each kernel has, by the names of its parameter."""
    counts = {use.name: int(use.groups(cut.stays).sum()) for use in plan.kernels if use.leaving_groups}
    return {name: counts[first] for name, first in plan.names.items() if first in counts}


def sizes_left(cut: Cut) -> dict[str, list[tuple[int, int]]]:
    """The widths before and after of the values that each module makes, where they changed and leave no doubt."""
    found: dict[str, dict[int, set[int]]] = {}
    for table in cut.ties.tables:
        for before, after in zip(table.sizes, table.left(cut.stays), strict=True):
            found.setdefault(table.place, {}).setdefault(before, set()).add(after)
    return {
        place: [(before, after.pop()) for before, after in sizes.items() if len(after) == 1]
        for place, sizes in found.items()
    }


@dataclass(frozen=True, eq=False)
class Row:
    """What became of the units of one kernel; ``why`` counts the reasons for which dead units stay."""

    parameter: str
    units: int
    dead: int
    left: int
    why: Mapping[str, int]


def rows_of(plan: Plan, cut: Cut) -> list[Row]:
    """A row for each kernel, in program order. A unit of a kernel that is used several times is alive in any use."""
    uses: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for number, use in enumerate(plan.kernels):
        uses.setdefault((use.name, use.rows.shape), []).append(number)
    found: dict[str, Row] = {}
    for (name, _), numbers in uses.items():
        if name not in found:
            live = np.any([plan.life.live[number] for number in numbers], axis=0)
            bundles = np.stack([plan.kernels[number].rows[~live] for number in numbers])
            stay = cut.stays[bundles].any(0)
            first = np.take_along_axis(bundles, cut.stays[bundles].argmax(0)[None], 0)[0]
            why = Counter(cut.reasons.get(int(bundle), "tied") for bundle in first[stay])
            found[name] = Row(name, live.size, int((~live).sum()), int((~stay).sum()), why)
    return list(found.values())

"""The plan of a compaction: what ties the units of a model, which of them are dead, and which leave."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from graphsparse.capture import Network
from graphsparse.compaction.bundles import Bundles, Life, life_of, read_bundles
from graphsparse.compaction.cut import Cut, Ties
from graphsparse.compaction.modules import equal_widths, longer_axes
from graphsparse.compaction.uses import AxisUse, KernelUse, entries_use, kernel_use, sort_out
from graphsparse.compaction.values import asked_by_values
from graphsparse.errors import MaskError
from graphsparse.networks.models import named_tensors


@dataclass(frozen=True, eq=False)
class Plan:
    """What a compaction goes by. ``kernels`` are in program order, as in ``bundles`` and ``life``; ``names`` gives every
    name of a tensor its first one."""

    bundles: Bundles
    life: Life
    kernels: tuple[KernelUse, ...]
    names: Mapping[str, str]
    cut: Cut


def plan_of(network: Network, resolution: str, keep: Iterable[str] = ()) -> Plan:
    """Find what may leave a network whose weights are zero where masks drop them; ``keep`` are patterns of names.

    Raises MaskError where a pattern fits no name.
    """
    model = network.runnable
    bundles = read_bundles(network)
    life = life_of(network, bundles, resolution)
    first: dict[int, str] = {}
    names = {name: first.setdefault(id(tensor), name) for name, tensor in named_tensors(model)}
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(model)}
    kernels = tuple(kernel_use(block, shapes[block.parameter], bundles.of) for block in bundles.kernels)
    uses, stuck = _uses(bundles, shapes)
    asked = asked_by_values(bundles, shapes, dict(network.program.graph_signature.inputs_to_buffers))
    kernels = tuple(
        replace(use, columns=asked.sides[use.name][None]) if use.name in asked.sides else use for use in kernels
    )
    axes = (*(use for kernel in kernels for use in kernel.axes), *uses, *asked.uses)
    equal = tuple(tuple((names[name], axis) for name, axis in group) for group in equal_widths(model))
    longer = tuple(longer_axes(model))
    ties = Ties(asked.tables, kernels, tuple(_distinct(axes)), shapes, equal, longer)
    cut = Cut.of(ties, life.alive)
    cut.keep(np.flatnonzero(bundles.fixed), "fixed")
    wanted = {names[name] for name in fitting(keep, names)}
    for use in axes:
        if use.name in wanted:
            cut.keep(use.bundles.ravel(), "keep")
    cut.keep(np.concatenate([asked.stuck, stuck, *(kernel.stuck for kernel in kernels)]), "numbers")
    return Plan(bundles, life, kernels, names, cut.settle())


def fitting(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    """The names that patterns fit. Raises MaskError where a pattern fits none."""
    found = set()
    for pattern in patterns:
        fitting = fnmatch.filter(names, pattern)
        if not fitting:
            raise MaskError(
                "keep= must hold names of parameters, or patterns as 'layer1.*' that fit some", received=pattern
            )
        found.update(fitting)
    return found


def _uses(bundles: Bundles, shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[AxisUse], np.ndarray]:
    """The uses of biases and scales, and the bundles that they hold fast."""
    found, stuck = list[AxisUse](), [np.empty(0, np.int64)]
    for stage in bundles.stages:
        if not len(stage.units):
            continue
        assert stage.parameter is not None and stage.entries is not None
        of = bundles.of[stage.units]
        sort_out(entries_use(stage.parameter, shapes[stage.parameter], stage.entries, of), found, stuck)
    return found, np.concatenate(stuck)


def _distinct(uses: tuple[AxisUse, ...]) -> list[AxisUse]:
    """The same without repeats."""
    found: dict[tuple[object, ...], AxisUse] = {}
    for use in uses:
        key = use.name, use.axis, use.at.tobytes(), use.bundles.tobytes(), use.beside is None
        found.setdefault(key, use)
    return list(found.values())


def unit_map(plan: Plan, cut: Cut) -> dict[str, tuple[torch.Tensor, ...]]:
    """The old index of each index that stays, for every axis of every tensor."""
    flags, shapes = cut.flags(), cut.ties.shapes
    return {
        name: tuple(
            torch.from_numpy(np.flatnonzero(flags[first, axis])) if (first, axis) in flags else torch.arange(size)
            for axis, size in enumerate(shapes[first])
        )
        for name, first in plan.names.items()
    }


def groups_left(plan: Plan, cut: Cut) -> dict[str, int]:
    """How many groups are left of each kernel whose groups may leave, by all names of its parameter."""
    counts = {use.name: int(use.groups(cut.stays).sum()) for use in plan.kernels if use.leaving_groups}
    return {name: counts[first] for name, first in plan.names.items() if first in counts}


def sizes_left(cut: Cut) -> dict[str, list[tuple[int, int]]]:
    """The widths of the values that each module makes, before and after; only those that all changed to the same one."""
    found: dict[str, dict[int, set[int]]] = {}
    for table in cut.ties.tables:
        for before, after in zip(table.sizes, table.left(cut.stays), strict=True):
            found.setdefault(table.place, {}).setdefault(before, set()).add(after)
    return {
        place: [(before, after.pop()) for before, after in sizes.items() if len(after) == 1]
        for place, sizes in found.items()
    }

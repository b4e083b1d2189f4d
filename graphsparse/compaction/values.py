"""What the values of a program ask for: what stays of each must be a box, so that the model's own code can compute it.

A view of channels as heads and features, or as groups and members, is a table of bundles with two axes. If some features
of a head leave, the same features of every head must leave: what is left has to be a table again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from graphsparse.capture.draft import as_ids
from graphsparse.capture.mechanics.routed import Routed
from graphsparse.capture.mechanics.waiting import Scores
from graphsparse.capture.nodes import place_of, reached
from graphsparse.capture.units import collapse
from graphsparse.capture.values import Known, Units, Weight
from graphsparse.compaction.bundles import Bundles
from graphsparse.compaction.uses import AxisUse, entries_use, sort_out, varying_axes

NORMS = ("batch_norm", "native_batch_norm", "instance_norm")
ELEMENT_WISE = "add sub rsub mul div where masked_fill maximum minimum pow clamp lerp".split()
IGNORED = ("scaled_dot_product_attention", "embedding", "dropout", "_grouped_mm", "grouped_mm_fallback")
"""Operations whose numbers are masks, indices of rows or bounds between rows, and stand along no axis that is cut."""
MADE_WIDE = ("cat", "lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operations for which a module's code makes equal numbers in the width of a value: an initial state, a key of zeros."""
COUNTED = ("slice", "roll")
"""Operations that move elements by numbers of places."""


@dataclass(frozen=True, eq=False)
class Table:
    """The bundles of a value, along those of its axes along which they differ; ``place`` is the module that makes it."""

    bundles: np.ndarray
    sizes: tuple[int, ...]
    place: str

    def box(self, stays: np.ndarray) -> np.ndarray:
        """The bundles that must stay so that what stays is a box, and is not empty."""
        wanted = self._lines(stays)
        if not stays[self.bundles[self.bundles >= 0]].any():
            return self.bundles[self.bundles >= 0][:1]
        return self.bundles[np.ix_(*wanted)] if wanted else self.bundles.reshape(1)

    def left(self, stays: np.ndarray) -> tuple[int, ...]:
        """How many indices of each axis stay."""
        return tuple(int(line.sum()) for line in self._lines(stays))

    def _lines(self, stays: np.ndarray) -> list[np.ndarray]:
        """Which indices of each axis have a bundle that stays."""
        alive = stays[self.bundles] & (self.bundles >= 0)
        return [alive.any(others(axis, alive.ndim)) for axis in range(alive.ndim)]


@dataclass(frozen=True, eq=False)
class Asked:
    """All that the program's values ask for: tables, uses of tensors element by element, and bundles that stay.

    ``sides``: the bundles of both inputs of bilinear layers, by the names of their kernels.
    """

    tables: tuple[Table, ...]
    uses: tuple[AxisUse, ...]
    stuck: np.ndarray
    sides: dict[str, np.ndarray]


def asked_by_values(bundles: Bundles, shapes: dict[str, tuple[int, ...]], buffers: dict[str, str]) -> Asked:
    """What every value asks for. ``shapes`` are those of parameters and buffers; ``buffers`` name the program's inputs."""
    tables: dict[tuple[Any, ...], Table] = {}
    uses: list[AxisUse] = []
    stuck: list[np.ndarray] = [np.empty(0, np.int64)]
    sides: dict[str, np.ndarray] = {}
    for node, made in bundles.walk.values.items():
        for value in made if isinstance(made, tuple) else (made,):
            ids = ids_of(value)
            if ids is None:
                continue
            table = table_of(bundles.of, ids, place_of(node)[0])
            if table is None:
                stuck.append(_all(bundles.of, ids))
            else:
                tables.setdefault((table.place, table.bundles.shape, table.bundles.tobytes()), table)
        first = ids_of(made[0] if isinstance(made, tuple) and made else made)
        if node.op == "call_function" and first is not None:
            sort_out(_beside(node, first, bundles, shapes, buffers), uses, stuck)
            if name_of(node) == "bilinear":
                both: list[AxisUse] = []
                sort_out(_sides(node, bundles), both, stuck)
                uses += both
                for use in both:
                    sides[use.name] = np.append(sides.get(use.name, stuck[0]), use.bundles)
    return Asked(tuple(tables.values()), tuple(uses), np.concatenate(stuck), sides)


def others(axis: int, count: int) -> tuple[int, ...]:
    """All axes but one."""
    return tuple(each for each in range(count) if each != axis)


def ids_of(value: Any) -> torch.Tensor | None:
    """The ids of a value that has units; None of a product that waits, whose ids are not made for this."""
    if isinstance(value, Scores) or not isinstance(value, Units):
        return None
    ids = value.experts if isinstance(value, Routed) else value.ids
    return ids if ids.numel() else None


def bundles_of(of: np.ndarray, ids: torch.Tensor) -> np.ndarray:
    """The bundle of each element, -1 where there is no unit. An axis along which ids repeat has one index."""
    (small,), _ = collapse(ids)
    return of[as_ids(small)]


def _all(of: np.ndarray, ids: torch.Tensor) -> np.ndarray:
    """All bundles of a value."""
    found = np.unique(bundles_of(of, ids))
    return found[found >= 0]


def table_of(of: np.ndarray, ids: torch.Tensor, place: str) -> Table | None:
    """The table of a value; None where a whole row of it holds no unit: then nothing of it may leave."""
    table = bundles_of(of, ids)
    axes = varying_axes(table)
    for axis in reversed(range(table.ndim)):
        if axis not in axes:
            table = table.max(axis)
    empty = any((table < 0).all(others(axis, table.ndim)).any() for axis in range(table.ndim))
    return None if empty else Table(table, tuple(table.shape), place)


def name_of(node: Node) -> str:
    """The plain name of the operation of a call."""
    return str(getattr(getattr(node.target, "overloadpacket", node.target), "__name__", node.target))


def _sides(node: Node, bundles: Bundles) -> Iterator[AxisUse | np.ndarray]:
    """What the inputs of a bilinear layer ask for, each along its own axis of the kernel (outputs, left, right)."""
    left, right, weight = (bundles.walk.values[operand] for operand in node.args[:3] if isinstance(operand, Node))
    assert isinstance(weight, Weight)
    plain = weight.joint is None and torch.equal(weight.index.ravel(), torch.arange(weight.shape.numel()))
    for axis, side in ((1, left), (2, right)):
        ids = ids_of(side)
        if ids is not None:
            table = np.broadcast_to(bundles_of(bundles.of, ids), tuple(ids.shape)).reshape(-1, ids.shape[-1]).max(0)
            yield AxisUse(weight.name, axis, np.arange(len(table)), table[None]) if plain else table


def _stored(weight: Weight, table: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> Iterator[AxisUse | np.ndarray]:
    """Where a table of bundles, as large as a weight, stands in the parameters that the weight is made of."""
    for name, entries in weight.stored(weight.index):
        there = entries.numpy() >= 0
        yield from entries_use(name, shapes[name], entries.numpy()[there], table[there])


def _beside(
    node: Node, ids: torch.Tensor, bundles: Bundles, shapes: dict[str, tuple[int, ...]], buffers: dict[str, str]
) -> Iterator[AxisUse | np.ndarray]:
    """What parameters, buffers and numbers beside the units of a call ask for."""
    name = name_of(node)
    values = bundles.walk.values
    if name in COUNTED:
        yield from _counted(node, name, bundles)
    norm = any(part in name for part in NORMS)
    for operand in tree_leaves((node.args, dict(node.kwargs))):
        if not isinstance(operand, Node):
            continue
        value = values.get(operand)
        if norm and operand.name in buffers and len(ids.shape) > 1:
            wanted = ids.movedim(1, 0).flatten(1).narrow(1, 0, 1) if ids.numel() else ids
            at = bundles.of[as_ids(wanted.reshape(-1))]
            yield from entries_use(buffers[operand.name], shapes[buffers[operand.name]], np.arange(len(at)), at)
        elif isinstance(value, Weight) and "prelu" in name and value.shape.numel() > 1:
            yield from _aligned(
                value.moved(lambda layout: layout.reshape(-1, *[1] * (ids.dim() - 2))), ids, bundles.of, shapes
            )
        elif isinstance(value, Weight) and name in ELEMENT_WISE and _fits(value.shape, ids.shape):
            yield from _aligned(value, ids, bundles.of, shapes)
        elif isinstance(value, Weight) and name == "cat":
            yield from _aligned(value, _line_beside(node, values).expand(value.shape), bundles.of, shapes)
        elif isinstance(value, Known) and value.shape.numel() > 1 and not norm and name not in IGNORED:
            yield from _held(node, operand, value, ids, bundles)


def _line_beside(node: Node, values: dict[Node, Any]) -> torch.Tensor:
    """The ids of the first value with units that a concatenation joins, at the first index along the axis of joining."""
    parts: Any = node.args[0]
    found = next(ids for ids in (ids_of(values[part]) for part in parts) if ids is not None)
    axis: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return found.narrow(axis, 0, 1)


def _is_made(node: Node) -> bool:
    """Whether the program makes a value of nothing that it holds or is given."""
    return all(each.op == "call_function" for each in reached([node], lambda each: each.all_input_nodes))


def _is_uniform(known: Known) -> bool:
    return known.known and bool((known.tensor == known.tensor.flatten()[0]).all())


def _counted(node: Node, name: str, bundles: Bundles) -> Iterator[np.ndarray]:
    """The bundles that an operation moves by counted places: at another width it would meet other elements.

    A slice without a step may mean half of the width, or a fixed number of channels. The program does not tell which; a
    trial finds out.
    """
    read = node.args[0]
    ids = ids_of(bundles.walk.values.get(read)) if isinstance(read, Node) else None
    if ids is None:
        return
    place, step = {"slice": 1, "roll": 2}[name], 4
    args: list[Any] = [*node.args, *[None] * (step + 1 - len(node.args))]
    moved = args[place] if isinstance(args[place], (list, tuple)) else [args[place] or 0]
    touched = {axis % ids.dim() for axis in moved} & set(varying_axes(bundles_of(bundles.of, ids)))
    if touched and (name == "roll" or args[step] not in (None, 1)):
        yield _all(bundles.of, ids)


def _fits(shape: torch.Size, whole: torch.Size) -> bool:
    try:
        return torch.broadcast_shapes(shape, whole) == whole
    except RuntimeError:
        return False


def _aligned(
    weight: Weight, ids: torch.Tensor, of: np.ndarray, shapes: dict[str, tuple[int, ...]]
) -> Iterator[AxisUse | np.ndarray]:
    """What a parameter asks for that meets units element by element."""
    table = np.broadcast_to(bundles_of(of, ids), tuple(ids.shape))
    extra = len(ids.shape) - len(weight.shape)
    axes = tuple(a for a in range(len(ids.shape)) if a < extra or weight.shape[a - extra] == 1)
    if set(axes) & set(varying_axes(table)):
        yield _all(of, ids)
    else:
        yield from _stored(weight, table.max(axes, keepdims=True).reshape(tuple(weight.shape)), shapes)


def _held(node: Node, operand: Node, known: Known, ids: torch.Tensor, bundles: Bundles) -> Iterator[np.ndarray]:
    """The bundles that vary along numbers that the model holds. No cut changes the numbers, so these stay."""
    name = name_of(node)
    if name in MADE_WIDE and _is_made(operand) and _is_uniform(known):
        return
    if name in ELEMENT_WISE and _fits(known.shape, ids.shape):
        table = bundles_of(bundles.of, ids)
        extra = table.ndim - len(known.shape)
        if any(axis >= extra and known.shape[axis - extra] > 1 for axis in varying_axes(table)):
            yield _all(bundles.of, ids)
        return
    read = [bundles.walk.values.get(operand) for operand in node.all_input_nodes]
    found = [each for each in (ids_of(value) for value in read) if each is not None]
    if name == "index" and found and isinstance(node.args[1], (list, tuple)):
        axes = set(varying_axes(bundles_of(bundles.of, found[0])))
        if not any(each is not None and axis in axes for axis, each in enumerate(node.args[1])):
            return
    yield from (_all(bundles.of, each) for each in [ids, *found])

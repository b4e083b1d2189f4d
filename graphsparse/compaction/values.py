"""What the values of a program ask for, and what parameters, buffers and numbers beside them do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from graphsparse.capture.draft import as_ids
from graphsparse.capture.nodes import operation_name, place_of, reached
from graphsparse.capture.values import Known, Weight
from graphsparse.compaction.bundles import Bundles
from graphsparse.compaction.tables import Table, all_of, bundles_of, ids_of, table_of
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
                stuck.append(all_of(bundles.of, ids))
            else:
                tables.setdefault((table.place, table.bundles.shape, table.bundles.tobytes()), table)
        first = ids_of(made[0] if isinstance(made, tuple) and made else made)
        if node.op == "call_function" and first is not None:
            sort_out(_beside(node, first, bundles, shapes, buffers), uses, stuck)
            if operation_name(node.target) == "bilinear":
                both: list[AxisUse] = []
                sort_out(_sides(node, bundles), both, stuck)
                uses += both
                for use in both:
                    sides[use.name] = np.append(sides.get(use.name, stuck[0]), use.bundles)
    return Asked(tuple(tables.values()), tuple(uses), np.concatenate(stuck), sides)


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
    name = operation_name(node.target)
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
        yield all_of(bundles.of, ids)


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
        yield all_of(of, ids)
    else:
        yield from _stored(weight, table.max(axes, keepdims=True).reshape(tuple(weight.shape)), shapes)


def _held(node: Node, operand: Node, known: Known, ids: torch.Tensor, bundles: Bundles) -> Iterator[np.ndarray]:
    """The bundles that vary along numbers that the model holds. No cut changes the numbers, so these stay."""
    name = operation_name(node.target)
    if name in MADE_WIDE and _is_made(operand) and _is_uniform(known):
        return
    if name in ELEMENT_WISE and _fits(known.shape, ids.shape):
        table = bundles_of(bundles.of, ids)
        extra = table.ndim - len(known.shape)
        if any(axis >= extra and known.shape[axis - extra] > 1 for axis in varying_axes(table)):
            yield all_of(bundles.of, ids)
        return
    read = [bundles.walk.values.get(operand) for operand in node.all_input_nodes]
    found = [each for each in (ids_of(value) for value in read) if each is not None]
    if name == "index" and found and isinstance(node.args[1], (list, tuple)):
        axes = set(varying_axes(bundles_of(bundles.of, found[0])))
        if not any(each is not None and axis in axes for axis, each in enumerate(node.args[1])):
            return
    yield from (all_of(bundles.of, each) for each in [ids, *found])

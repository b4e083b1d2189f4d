"""Fully connected layers: a parameter times an axis of a value, its weights shared over all other axes."""

from __future__ import annotations

from typing import Any

import torch

from graphsparse.capture.call import Call
from graphsparse.capture.mechanics import waiting
from graphsparse.capture.mechanics.arithmetic import add, biased, pairwise, parted
from graphsparse.capture.table import Rule, rows
from graphsparse.capture.units import NOTHING, collapse, unique_rows
from graphsparse.capture.values import Known, Units, Value, Weight
from graphsparse.capture.wiring import dense, grouped

aten = torch.ops.aten
COMPUTED = "a matrix that the model computes is taken as wholly not zero"


def linear(call: Call, value: Value, weight: Value, bias: Value | None = None) -> Units:
    """value (..., inputs) times weight (outputs, inputs), plus bias."""
    if not isinstance(weight, Weight):
        return biased(call, product(call, value, _transposed(weight)), bias)
    inside, after = parted(bias)
    return biased(call, by_weight(call, value, _transposed(weight), inside), after)


def product(call: Call, left: Value, right: Value) -> Units:
    """A matrix product: of a value with a parameter a layer, with known numbers wires, of two values gates."""
    if isinstance(left, Units) and isinstance(right, Units):
        return waiting.product(call, left, right)
    if isinstance(right, Weight) and not isinstance(left, Weight):
        return by_weight(call, left, right)
    if isinstance(left, Units) and isinstance(right, Known):
        return by_numbers(call, left, right)
    assert type(left) is not type(right), "a product that no input moves is computed, not ruled"
    turned = product(call, _transposed(right), _transposed(left))
    return turned if 1 in (len(left.shape), len(right.shape)) else _transposed(turned)


def _transposed(value: Any) -> Any:
    """The last two axes exchanged; a vector is itself."""
    return value if len(value.shape) < 2 else value.moved(lambda each: each.mT)


def by_weight(call: Call, value: Value, weight: Weight, bias: Any = None) -> Units:
    """value (..., rows, inputs) @ weight (..., inputs, outputs) + bias; leading axes of the weight's own are groups."""
    ids = torch.atleast_2d(call.ids(value))
    layout = weight.layout.unsqueeze(-1) if weight.layout.dim() == 1 else weight.layout
    own = [axis for axis in range(layout.dim() - 2) if layout.size(axis) > 1 and layout.stride(axis) != 0]
    lead = torch.broadcast_shapes(ids.shape[:-2], layout.shape[:-2])
    groups = [axis + len(lead) - (layout.dim() - 2) for axis in own]
    others = [axis for axis in range(len(lead) + 1) if axis not in groups]
    (small,), _ = collapse(ids.expand(*lead, *ids.shape[-2:]).permute(*groups, -1, *others))
    sizes, rest = [lead[axis] for axis in groups], small.shape[len(groups) + 1 :]
    small = small.expand(*sizes, ids.size(-1), *rest)  # inputs that are one unit still have a connection each
    for axis in range(layout.dim() - 3, -1, -1):
        layout = layout if axis in own else layout.select(axis, 0)
    kernel = grouped(layout.mT)
    out = dense(call.draft, small.reshape(kernel.size(0), ids.size(-1), rest.numel()), weight, kernel, bias)
    out = out.reshape(*sizes, layout.size(-1), *(rest if out.size(2) > 1 else [1] * len(rest)))
    order = [groups.index(a) if a in groups else len(groups) + 1 + others.index(a) for a in range(len(lead) + 1)]
    out = out.permute(*order, len(groups)).expand(*lead, ids.size(-2), layout.size(-1))
    out = out.select(-2, 0) if len(value.shape) == 1 else out
    made = Units(out.select(-1, 0) if weight.view.dim() == 1 else out)
    if not weight.lifted or not isinstance(value, Units):
        return made
    call.say_conservative(COMPUTED)  # numbers that are added to the kernel, as in a low-rank update
    return call.union([made, every_input(call, value, weight)])


def by_numbers(call: Call, value: Units, matrix: Known) -> Units:
    """value (..., rows, inputs) @ matrix (..., inputs, outputs) of numbers that the model holds: wires where not zero."""
    if not matrix.known:
        call.say_conservative(COMPUTED)
        return every_input(call, value, matrix)
    numbers = matrix.tensor.unsqueeze(-1) if len(matrix.shape) == 1 else matrix.tensor
    patterns = (numbers != 0).unsqueeze(0).flatten(0, -3)
    if not bool((patterns == patterns[:1]).all()):
        call.say_conservative("a stack of constant matrices of several patterns is taken as wholly not zero")
        return every_input(call, value, matrix)
    ids = torch.atleast_2d(value.ids)
    lead = torch.broadcast_shapes(ids.shape[:-2], numbers.shape[:-2])
    made = wired(call, ids.expand(*lead, *ids.shape[-2:]), patterns[0].T)
    made = made.select(-2, 0) if len(value.shape) == 1 else made
    return Units(made.select(-1, 0) if len(matrix.shape) == 1 else made)


def wired(call: Call, ids: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """The ids (..., rows, outputs), where each output depends on those of ids (..., rows, inputs) that its pattern says.

    ``pattern`` is bool (outputs, inputs).
    """
    first, kind = unique_rows(pattern.long())
    (small,), _ = collapse(ids.movedim(-1, 0))
    small = small.expand(ids.size(-1), *small.shape[1:])
    made = []
    for row in pattern[first]:
        chosen = small[row].flatten(1).T
        made.append(call.united(chosen) if chosen.size(1) else torch.full((len(chosen),), NOTHING))
    out = torch.stack(made)[kind].reshape(len(pattern), *small.shape[1:]).movedim(0, -1)
    return out.expand(*ids.shape[:-1], len(pattern))


def every_input(call: Call, value: Units, matrix: Value) -> Units:
    """Every output depends on the whole row of inputs."""
    joined = call.united(value.ids)
    if len(matrix.shape) == 1:
        return Units(joined)
    lead = matrix.shape[:-2]
    lead = torch.broadcast_shapes(value.shape[:-1], (*lead, 1)) if len(value.shape) > 1 else lead
    return Units(joined.unsqueeze(-1).expand(*lead, matrix.shape[-1]))


def addmm(call: Call, bias: Any, left: Any, right: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta * bias + alpha * left @ right; also baddbmm and addmv."""
    made = product(call, left, right)
    return made if beta == 0 else add(call, made, bias)


def bilinear(call: Call, left: Units, right: Units, weight: Weight, bias: Any = None) -> Any:
    """left (..., i) and right (..., j) by weight (outputs, i, j): a layer over the products of their entries."""
    pairs = pairwise(call, Units(left.ids.unsqueeze(-1)), Units(right.ids.unsqueeze(-2)))
    flat = Units(pairs.ids.reshape(*call.shape[:-1], -1))
    return biased(call, by_weight(call, flat, weight.moved(lambda layout: layout.flatten(1).T)), bias)


RULES: dict[Any, Rule] = {
    aten.linear.default: Rule(linear, kernel_at=1, flows="layer"),
    **rows("matmul mm bmm", Rule(product, kernel_at=1, product=True, flows="multiplies")),
    **rows("mv dot", Rule(product)),
    aten.addmm.default: Rule(addmm, kernel_at=2, product=True, flows="adds product"),
    aten.baddbmm.default: Rule(addmm, flows="adds product"),
    aten.addmv.default: Rule(addmm),
    aten.bilinear.default: Rule(bilinear),
}

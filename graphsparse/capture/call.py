"""One call of the captured program, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from graphsparse.capture.draft import Draft
from graphsparse.capture.nodes import is_norm, operation_name
from graphsparse.capture.units import CONSTANT, NOTHING, collapse
from graphsparse.capture.values import Axes, Known, Units, Value, Weight
from graphsparse.capture.wiring import lift, united


@dataclass(frozen=True, eq=False)
class Call:
    """``target`` is the operation, ``shape`` that of its (first) result, ``place`` the module path it stands in.

    ``body(program, operands)`` lowers a program that an operation takes as an operand, for branches and loops.
    """

    draft: Draft
    target: Any
    shape: torch.Size
    dtype: torch.dtype
    place: str
    module_type: str = ""
    body: Callable[[Any, Sequence[Any]], Any] = lambda program, operands: None

    @property
    def unrolled(self) -> bool:
        """Whether units are elements, not channels."""
        return self.draft.unrolled

    @property
    def in_norm(self) -> bool:
        """Whether the call stands in a normalisation."""
        return is_norm(self.module_type)

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call's arguments by the names that torch gives them, defaults among them."""
        schema = self.target._schema.arguments
        given = {argument.name: value for argument, value in zip(schema, args, strict=False)}
        return {argument.name: argument.default_value for argument in schema} | given | dict(kwargs)

    def ids(self, value: Value | float) -> torch.Tensor:
        """The ids of any value: a constant is no unit where it is zero, and a constant unit elsewhere."""
        if isinstance(value, Units):
            return value.ids
        if isinstance(value, Known) and value.known:
            return torch.where(value.tensor == 0, NOTHING, CONSTANT)
        if isinstance(value, (Known, Weight)):
            return torch.full((), CONSTANT).expand(value.shape)
        return torch.full((), NOTHING if value == 0 else CONSTANT)

    def union(self, operands: Sequence[Value | float]) -> Units:
        """The element-wise sum (or maximum, or any mixture) of operands of broadcastable shapes."""
        parts, expand = collapse(*(self.ids(value) for value in operands))
        return Units(expand(self.united(torch.stack(parts, -1))))

    def united(self, ids: torch.Tensor) -> torch.Tensor:
        """The unit that depends on all of the last axis of ids, for each index of the others."""
        return united(self.draft, ids)

    def united_over(self, ids: torch.Tensor, dim: Axes) -> torch.Tensor:
        """The unit that depends on all elements along the axes ``dim``, which keep size one; all axes where it is None."""
        if not ids.dim():
            return ids
        axes = [dim] if isinstance(dim, int) else dim or range(ids.dim())
        axes = sorted(axis % ids.dim() for axis in axes)
        others = [axis for axis in range(ids.dim()) if axis not in axes]
        (small,), _ = collapse(ids)
        united = self.united(small.permute(*others, *axes).flatten(len(others)))
        for axis in axes:
            united = united.unsqueeze(axis)
        return united.expand([1 if axis in axes else size for axis, size in enumerate(ids.shape)])

    def lift(self, value: Units, by: Weight | None = None, where: torch.Tensor | None = None) -> Units:
        """The value plus something that is not zero: zeros become constants.

        ``by`` is a bias of broadcastable shape, whose masked entries add nothing; ``where`` a bool tensor of the elements
        that are lifted.
        """
        return lift(self.draft, value, by, where)

    def constants(self, shape: torch.Size | None = None, dtype: torch.dtype | None = None) -> Known:
        """A value of this call's shape that no input moves and whose content is not known."""
        return Known.of_shape(self.shape if shape is None else shape, dtype or self.dtype)

    def statistics_count(self) -> bool:
        """Note that the call takes statistics of a normalisation, and return whether they are connections."""
        self.draft.has_norm_statistics = True
        return self.draft.norm_statistics

    def say_conservative(self, reason: str) -> None:
        """Record that this call is decided on the safe side, and why."""
        self.draft.conservative.append((operation_name(self.target), self.place, reason))

"""One call of the captured program, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from graphsparse.capture.draft import Draft
from graphsparse.capture.nodes import is_norm
from graphsparse.capture.units import CONSTANT, NOTHING, collapse
from graphsparse.capture.values import Known, Units, Value, Weight


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
    conservative: list[str] = field(default_factory=list)
    body: Callable[[Any, Sequence[Any]], Any] = lambda program, operands: None

    @property
    def in_norm(self) -> bool:
        """Whether the call stands in a normalisation."""
        return is_norm(self.module_type)

    def ids(self, value: Value | float) -> torch.Tensor:
        """The ids of any value: a constant is no unit where it is zero, and a constant unit elsewhere."""
        if isinstance(value, Units):
            return value.ids
        if isinstance(value, Weight):
            return torch.full((), CONSTANT).expand(value.shape)
        if isinstance(value, Known) and value.known:
            return torch.where(value.tensor == 0, NOTHING, CONSTANT)
        if isinstance(value, Known):
            return torch.full((), CONSTANT).expand(value.shape)
        return torch.full((), NOTHING if value == 0 else CONSTANT)

    def union(self, operands: Sequence[Value | float]) -> Units:
        """The element-wise sum (or maximum, or any mixture) of operands of broadcastable shapes."""
        parts, expand = collapse(*(self.ids(value) for value in operands))
        rows = torch.stack([part.reshape(-1) for part in parts], 1)
        return Units(expand(self.draft.union(rows).reshape(parts[0].shape)))

    def constants(self, shape: torch.Size | None = None, dtype: torch.dtype | None = None) -> Known:
        """A value of this call's shape that no input moves and whose content is not known."""
        return Known.of_shape(self.shape if shape is None else shape, dtype or self.dtype)

    def say_conservative(self, reason: str) -> None:
        """Record that this call is decided on the safe side, and why."""
        self.conservative.append(reason)

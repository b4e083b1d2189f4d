"""What capture says of a model: what it did with operations, and what it took each input for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Coverage:
    """What capture did with the operations of a model.

    ``rules`` counts operations by the rule that took them. ``conservative`` lists (operation, module, reason) where more is
    called active than the function may depend on.
    """

    rules: Mapping[str, int] = field(default_factory=dict)
    conservative: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Input:
    """What an input of the model was ``taken`` for: "source", "tokens" (of the rows of ``tables``) or "constant".

    ``name`` is that of the model's argument; inside tuples and dicts its path, as ``batch.image.0``. ``kind`` is the
    type of its elements, ``reason`` says why it was taken so.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    taken: str
    reason: str
    tables: tuple[str, ...] = ()

    def __str__(self) -> str:
        taken = f"tokens of {', '.join(self.tables)}" if self.taken == "tokens" else self.taken
        return f"{self.name}: {taken} ({self.reason})"

"""What a schedule did to the masks at a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Change:
    """New masks after ``step``: ``kept`` of ``connections``, of which ``active`` lie on a path.

    ``died``: by parameter, how many connections were not chosen but dead, and were dropped with what was. ``dropped`` and
    ``grown``: how many were chosen to go and to come. ``collapsed``: nothing would be alive, so the masks stayed.
    """

    step: int
    connections: int
    kept: int
    active: int
    dropped: int = 0
    grown: int = 0
    died: Mapping[str, int] = field(default_factory=dict)
    collapsed: bool = False

    def __str__(self) -> str:
        if self.collapsed:
            return f"step {self.step}: no path would be left, so the masks stay; {self.active:,} active"
        dead = sum(self.died.values())
        where = f" (dead: {', '.join(f'{name} {count:,}' for name, count in self.died.items())})" if dead else ""
        return (
            f"step {self.step}: {self.active:,} of {self.connections:,} active, {self.dropped:,} dropped, "
            f"{dead:,} died, {self.grown:,} grown{where}"
        )

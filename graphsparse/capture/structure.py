"""What a program was read as: a graph on which masks and weights are put later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from graphsparse.graph import LayeredGraph


@dataclass(frozen=True, eq=False)
class Structure:
    """A graph without masks and weights, and which of its modulators are scales."""

    graph: LayeredGraph
    scales: frozenset[str]


class Kept(Protocol):
    """Structures that are kept from one run to the next, by the way in which a network was read."""

    def find(self, way: tuple[Any, ...]) -> Structure | None:
        """The structure, if it is kept."""

    def keep(self, way: tuple[Any, ...], structure: Structure) -> None:
        """Keep a structure."""

"""What a program was read as: a graph on which masks and weights are put later."""

from __future__ import annotations

from dataclasses import dataclass

from graphsparse.graph import LayeredGraph


@dataclass(frozen=True, eq=False)
class Structure:
    """A graph without masks and weights, and which of its modulators are scales."""

    graph: LayeredGraph
    scales: frozenset[str]

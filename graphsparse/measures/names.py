"""Names that people give: of a graph's parameters, and of metrics; a close one is suggested for one that is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from graphsparse.errors import ArgumentError, MaskError
from graphsparse.graph import LayeredGraph


def suggestion(name: object, known: Iterable[str]) -> str:
    """``did you mean X? ``, with the known name that is closest; empty where none is close."""
    close = get_close_matches(str(name), list(known), 1)
    return f"did you mean {close[0]}? " if close else ""


def connected_parameter(graph: LayeredGraph, name: Any, *, also: str = "") -> str:
    """The graph's own name of a parameter that holds connections. Raises MaskError, with the names that there are."""
    found = graph.aliases.get(name, name) if isinstance(name, str) else None
    if found in graph.shapes:
        return str(found)
    some, more = list(graph.shapes)[:6], " ..." if len(graph.shapes) > 6 else ""
    raise MaskError(
        "a parameter must be one with connections", place=str(name), received="a name that the graph does not have",
        way_out=f"{suggestion(name, [*graph.shapes, *graph.aliases])}use {', '.join(some)}{more}{also}",
    )  # fmt: skip


def metric_names(metrics: Any) -> Sequence[str] | None:
    """The names of metrics as a list; None for all. Raises ArgumentError where they are no names."""
    if metrics is None:
        return None
    names = [metrics] if isinstance(metrics, str) else list(metrics) if isinstance(metrics, Iterable) else [metrics]
    if isinstance(metrics, bytes) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            "metrics must be names of metrics or of groups", place="metrics", received=repr(metrics),
            way_out="give one name or a list of names, or None for all",
        )  # fmt: skip
    return names

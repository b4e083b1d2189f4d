"""A part of a result: the rows of those parameters and layers whose names fit a pattern. Totals stay those of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from graphsparse.errors import ArgumentError

if TYPE_CHECKING:
    from graphsparse.metrics.topology import Topology
    from graphsparse.runs.comparison import CheckpointComparison
    from graphsparse.runs.trajectory import Trajectory

Rows = TypeVar("Rows", "CheckpointComparison", "Trajectory")


def chosen(names: Iterable[str], patterns: Sequence[str] | None) -> set[str]:
    """The names that a pattern such as ``layer*`` fits; all without patterns. Raises ArgumentError for none.

    Example:
        >>> sorted(chosen(["fc1.weight", "fc2.weight", "conv.weight"], ["fc*"]))
        ['fc1.weight', 'fc2.weight']
    """
    known = list(dict.fromkeys(names))
    if not patterns:
        return set(known)
    found = {name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)}
    if not found:
        raise ArgumentError(
            "a selection must fit the name of a parameter or layer", place="select", received=", ".join(patterns),
            way_out=f"the names are {', '.join(known[:6])}{', ...' if len(known) > 6 else ''}",
        )  # fmt: skip
    return found


def select_rows(result: Rows, patterns: Sequence[str] | None) -> Rows:
    """A comparison or a trajectory with the rows of some parameters, and of all together."""
    names = chosen((row["place"] for row in result.rows if row["place"]), patterns)
    return replace(result, rows=tuple(row for row in result.rows if not row["place"] or row["place"] in names))


def select_places(found: Topology, patterns: Sequence[str] | None) -> Topology:
    """Topology with the rows of some layers and parameters, and of all together."""
    whole = found.frame["scope"] == "all"
    names = chosen(found.frame["place"][~whole], patterns)
    return replace(found, frame=found.frame[whole | found.frame["place"].isin(names)].reset_index(drop=True))

"""Results by parameter: rows of plain values, and the same as a pandas frame where one is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

Rows = Mapping[str, Mapping[str, Any]]
"""The values of each parameter, by column."""


def as_frame(rows: Rows, columns: Sequence[str]) -> pandas.DataFrame:
    """A frame with a row per parameter."""
    import pandas  # here, for it takes a quarter of a second to import, and the command line shows rows without it

    found = pandas.DataFrame.from_dict(rows, orient="index", columns=list(columns))
    found.index.name = "parameter"
    return found

"""Results by parameter as rows of plain values; these as a pandas frame, and a frame as a table in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

SHOWN = 12
"""Rows that a notebook shows of a frame."""
Rows = Mapping[str, Mapping[str, Any]]
"""The values of each parameter, by column."""


def as_frame(rows: Rows, columns: Sequence[str]) -> pandas.DataFrame:
    """A frame with a row per parameter."""
    import pandas  # here, for it takes a quarter of a second to import, and the command line shows rows without it

    found = pandas.DataFrame.from_dict(rows, orient="index", columns=list(columns))
    found.index.name = "parameter"
    return found


def table(heading: str, lines: Iterable[str], frame: pandas.DataFrame) -> str:
    """HTML of a heading, of lines of text, and of the first and last rows of a frame; all text is escaped."""
    text = "".join(f"<div>{escape(line)}</div>" for line in lines)
    return f"<div><b>{escape(heading)}</b>{text}{frame.to_html(max_rows=SHOWN, border=0)}</div>"

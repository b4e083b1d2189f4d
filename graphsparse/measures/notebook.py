"""Results as small tables in a notebook: a heading, a few lines, the first rows of a frame; all text escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

ROWS = 12


def table(heading: str, lines: Iterable[str], frame: pandas.DataFrame) -> str:
    """HTML of a heading, of lines of text, and of a frame of at most `ROWS` rows, the first and the last ones."""
    text = "".join(f"<div>{escape(line)}</div>" for line in lines)
    return f"<div><b>{escape(heading)}</b>{text}{frame.to_html(max_rows=ROWS, border=0)}</div>"

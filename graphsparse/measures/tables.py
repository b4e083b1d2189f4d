"""Results by parameter as rows of plain values: as a pandas frame, in a notebook, and as files, each written in one step."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from graphsparse.checkpoints.atomic import replacing
from graphsparse.errors import needs_extra

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


def write_csv(frame: pandas.DataFrame, path: str | os.PathLike[str] | None = None, *, index: bool = False) -> str:
    """The frame as CSV text, also written to a file where a path is given."""
    return written(frame.to_csv(index=index), path)


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """The text as it is, also written to a file in one step where a path is given; the file ends with a line."""
    if path is not None:
        with replacing(path) as file:
            file.write((text.rstrip("\n") + "\n").encode())
    return text


def write_parquet(frame: pandas.DataFrame, path: str | os.PathLike[str], *, index: bool = False) -> None:
    """Write a frame as parquet. Raises MissingExtra without pyarrow."""
    check_parquet()
    content = frame.to_parquet(None, engine="pyarrow", index=index)
    with replacing(path) as file:
        file.write(content)


def check_parquet() -> None:
    """Raises MissingExtra where parquet cannot be written."""
    with needs_extra("parquet", "a parquet file needs pyarrow"):
        import pyarrow  # noqa: F401


def plain_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of values that JSON has: numbers of arrays as numbers, what is not finite as None."""
    return [{str(key): plain(value) for key, value in row.items()} for row in rows]


def plain(value: Any) -> Any:
    """A value that JSON has."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""What is found of several checkpoints, as a frame, as files and as a page."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from graphsparse.measures.tables import write_csv, write_parquet, written
from graphsparse.pages.render import render
from graphsparse.pages.sections import Page
from graphsparse.runs.rows import Row

if TYPE_CHECKING:
    import pandas


class Result(ABC):
    """A result with ``rows``, whose columns are ``COLUMNS``."""

    COLUMNS: ClassVar[tuple[str, ...]]
    rows: tuple[Row, ...]

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """A row per checkpoint and place."""
        return framed(self.rows, self.COLUMNS)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is not finite is None."""

    @abstractmethod
    def page(self, command: str | None = None) -> Page:
        """The page; ``command`` is what it says was typed."""

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The plain values as JSON text, also written to a file where a path is given."""
        return written(json.dumps(self.to_dict(), indent=1), path)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The frame as CSV text, also written to a file where a path is given."""
        return write_csv(self.frame, path)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the frame as parquet. Needs the extra ``parquet``."""
        write_parquet(self.frame, path)

    def to_html(self, path: str | os.PathLike[str] | None = None, *, command: str | None = None) -> str:
        """A page in one file, also written where a path is given. Needs the extra ``html``.

        ``command`` is what the page says was typed.
        """
        return written(render(self.page(command)), path)


def framed(rows: Sequence[Row], columns: Iterable[str]) -> pandas.DataFrame:
    """Rows as a frame with these columns."""
    import pandas  # here, for it takes a quarter of a second to import

    return pandas.DataFrame(rows, columns=list(columns))


def in_scope(scope: str, rows: Iterable[Row]) -> list[Row]:
    """The rows of all, or those of parameters."""
    return [row for row in rows if row["scope"] == scope]

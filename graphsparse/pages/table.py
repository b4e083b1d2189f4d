"""Tables that a reader sorts, searches and filters; without scripts they are read as they stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphsparse.pages.render import shown, times
from graphsparse.pages.sections import Section

INFINITE = 1.7e308
"""What stands for infinity among the values that a table is sorted by: JSON has none."""
LONG = 40
"""Letters from which on a text wants a wide column."""
Value = float | str | None


@dataclass(frozen=True)
class Cell:
    """The ``text`` of a cell, and the ``value`` that it is sorted by; None is sorted last."""

    text: str
    value: Value


@dataclass(frozen=True)
class Head:
    """The head of a column: its name, its text where that is another one, a class, and the words that explain it."""

    name: str
    text: str = ""
    mark: str = ""
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A row for each name. ``of`` says what the names are of, ``below`` is a sentence below the title.

    ``kinds`` are the numbers of rows that a reader may want to see alone, by what these have in common. The rows of a
    ``linked`` table are layers, which other pictures of the page choose too.
    """

    of: str
    heads: Sequence[Head]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    kinds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    below: str = ""
    linked: bool = False

    @property
    def marks(self) -> list[str]:
        """The classes of the columns: words stand on the left and go on in the next line, numbers on the right."""
        texts = [[each.text for each in column if isinstance(each.value, str)] for column in self._columns]
        kinds = ["number" if not of else "words long" if max(map(len, of)) > LONG else "words" for of in texts]
        return [f"{kind} {head.mark}".rstrip() for head, kind in zip(self.heads, kinds)]

    @property
    def _columns(self) -> list[list[Cell]]:
        return [[cells[n] for _, cells in self.rows] for n in range(len(self.heads))]

    @property
    def drawn(self) -> dict[str, Any]:
        """What the script of tables sorts and filters by."""
        columns = {head.name: [each.value for each in of] for head, of in zip(self.heads, self._columns)}
        return {"names": [name for name, _ in self.rows], "columns": columns, "kinds": self.kinds}


def section(key: str, title: str, table: Table) -> Section:
    """A section that is a table."""
    return Section(key, title, {"table": table}, table.drawn, ("table.js",), "table.html")


def cells_of(row: Mapping[str, Any], columns: Sequence[str]) -> list[Cell]:
    """The cells of some columns of a row."""
    return [cell(column, row.get(column)) for column in columns]


def heads_of(columns: Sequence[str]) -> list[Head]:
    """Heads of columns as people write them."""
    return [Head(column, column.replace("_", " ")) for column in columns]


def cell(measure: str, value: Any, signed: bool = False) -> Cell:
    """A value of a measure; what is not defined is empty.

    Example:
        >>> cell("direct_compression", 20.0), cell("kept", 1234), cell("died", 3, signed=True)
        (Cell(text='20.0×', value=20.0), Cell(text='1,234', value=1234), Cell(text='+3', value=3))
    """
    value = value.item() if hasattr(value, "item") else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("", None)
    if isinstance(value, str):
        return Cell(value, value)
    broken = isinstance(value, float) and abs(value) < 10 and not value.is_integer()
    text = times(value) if measure.endswith("compression") else f"{value:.4f}" if broken else shown(value)
    finite = value if math.isfinite(value) else math.copysign(INFINITE, value)
    return Cell(f"+{text}" if signed and value > 0 else text, finite)


def same(rows: Sequence[Mapping[str, Any]], column: str, least: int = 2, most: int = 30) -> dict[str, list[int]]:
    """The numbers of the rows that have the same value of a column, by that value; nothing where there are few or many.

    Example:
        >>> same([{"lost": "sinks"}, {"lost": "sources"}, {"lost": "sinks"}], "lost")
        {'sinks': [0, 2], 'sources': [1]}
    """
    found: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        found.setdefault(str(row[column]), []).append(number)
    return found if least <= len(found) <= most else {}

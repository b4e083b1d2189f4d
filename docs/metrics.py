"""Writes the tables of `topology.md` anew from the table of metrics: `python docs/metrics.py`."""

from __future__ import annotations

import re
from pathlib import Path

from graphsparse.metrics.table import Metric
from graphsparse.metrics.topology import TABLE

PAGE = Path(__file__).with_name("topology.md")
BEGINS, ENDS = "<!-- metrics: written by docs/metrics.py -->\n", "<!-- end of metrics -->\n"


def tables() -> str:
    """A table for each group of metrics, in the order of `TABLE`."""
    groups: dict[str, list[Metric]] = {}
    for row in TABLE.values():
        groups.setdefault(row.group, []).append(row)
    return "\n".join(f"### {group.capitalize()}\n\n{_table(rows)}" for group, rows in groups.items())


def _table(rows: list[Metric]) -> str:
    lines = ["| metric | what it is | unit | cost |", "|---|---|---|---|"]
    return "\n".join([*lines, *map(_line, rows)]) + "\n"


def _line(row: Metric) -> str:
    text = " ".join(row.definition.split())
    meaning, _, cost = text.partition("Cost: ")
    first = re.split(r"(?<!et al)\.(?= [A-Z\"`]| ?$)", meaning, maxsplit=1)[0]
    if row.limit is not None:
        cost = f"{cost.rstrip('.')}; beyond {row.limit:,} edges only by name"
    return (
        "| "
        + " | ".join(cell.replace("|", "\\|") for cell in (f"`{row.name}`", first.rstrip(), row.unit, cost.rstrip(".")))
        + " |"
    )


def page(text: str) -> str:
    """The page's text with the tables as they are now."""
    before, _, rest = text.partition(BEGINS)
    return before + BEGINS + "\n" + tables() + "\n" + ENDS + rest.partition(ENDS)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))

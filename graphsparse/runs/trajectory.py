"""The trajectory of a run: what its checkpoints are, step by step."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphsparse.errors import MaskError
from graphsparse.measures.notebook import table
from graphsparse.measures.tables import plain_rows, write_csv, write_parquet
from graphsparse.runs.deaths import counted
from graphsparse.runs.folding import COLUMNS, DEATHS
from graphsparse.runs.pages import write_page
from graphsparse.runs.rows import ALL, PARAMETER, Row

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """What became of a network from step to step.

    ``frame`` has a row per step and place, in all (``scope`` "all") and for each parameter; ``totals`` and ``parameters``
    show one scope each. ``deaths`` has a row per death of a unit. ``collapses`` says at which step nothing was active any
    more. ``skipped`` are checkpoints that could not be read, with the reason; ``notes`` what a reader should know.

    Columns of the frame, beside those of `graphsparse.sparsity` and `graphsparse.topology`: ``live`` units lie between a
    source and a sink. ``anp``: share of the units with a kept connection, of those that could have one; of a parameter, of
    the units that it feeds (Zhang et al. 2024). ``itop``: share of the connections that were kept at any step so far (Liu
    et al. 2021). ``born`` and ``died``: connections since the step before; ``units_cut``: units that died and would live
    had this parameter alone kept what it dropped. ``overlap_before`` and ``overlap_last``: intersection over union with the
    masks of the step before and of the last step. ``fan_in_variation``: coefficient of variation of the connections per
    row of a parameter (Profiled Sparse Networks, 2026). What begins with ``active_`` is the same of active connections.
    """

    title: str
    rows: tuple[Row, ...]
    death_rows: tuple[Row, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """A row per step and place."""
        import pandas  # here, for it takes a quarter of a second to import

        return pandas.DataFrame(self.rows, columns=list(COLUMNS))

    @property
    def totals(self) -> pandas.DataFrame:
        """A row per step: what holds in all."""
        frame = self.frame
        return frame[frame["scope"] == ALL].drop(columns=["scope", "place"]).set_index("step")

    @property
    def parameters(self) -> pandas.DataFrame:
        """A row per parameter and step."""
        frame = self.frame
        chosen = frame[frame["scope"] == PARAMETER].drop(columns="scope").rename(columns={"place": "parameter"})
        return chosen.set_index(["parameter", "step"]).sort_index(
            level="parameter", sort_remaining=False, kind="stable"
        )

    @cached_property
    def deaths(self) -> pandas.DataFrame:
        """A row per death of a unit: at which step, its layer and number there, what it lost ("sources", "sinks"), whose
        drops were enough for it, and at which step it came back, if it did."""
        import pandas

        return pandas.DataFrame(self.death_rows, columns=list(DEATHS)).astype({"back": "Int64"})

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that were read, rising."""
        return tuple(row["step"] for row in self.rows if row["scope"] == ALL)

    @property
    def collapses(self) -> dict[str, int]:
        """By parameter the first step at which nothing of it is active, though something was before or it is the first
        step; under "" that of the whole network."""
        found: dict[str, int] = {}
        for row in self.rows:
            if row["collapsed"]:
                found.setdefault(row["place"], row["step"])
        return found

    def unit(self, layer: str, number: int) -> pandas.DataFrame:
        """The deaths of one unit, by the name of its layer and its number there.

        Raises:
            MaskError: no unit of a layer of that name ever died.
        """
        here = self.deaths[self.deaths["layer"] == layer]
        if here.empty:
            known = ", ".join(dict.fromkeys(row["layer"] for row in self.death_rows)) or "none"
            raise MaskError(
                "a unit must be of a layer in which units died", place=layer, received=f"unit {number}",
                way_out=f"name one of: {known}",
            )  # fmt: skip
        return here[here["unit"] == number].reset_index(drop=True)

    def __repr__(self) -> str:
        ends = f", {self.steps[0]} to {self.steps[-1]}" if self.rows else ""
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"Trajectory({self.title!r}, {len(self.steps)} steps{ends}{skipped}; .totals .parameters .deaths .frame)"

    def _repr_html_(self) -> str:
        skipped = [f"Skipped: {error}" for error in self.skipped.values()]
        return table(self.title, [repr(self), *skipped, *self.notes], self.totals)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is not finite is None. Deaths are counted; ``deaths`` has them one by one."""
        return {
            "title": self.title,
            "steps": plain_rows(self.rows),
            "deaths": plain_rows(counted(self.death_rows)),
            "collapses": self.collapses,
            "skipped": dict(self.skipped),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """The same as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

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
        return write_page("trajectory_page", self, path, command)

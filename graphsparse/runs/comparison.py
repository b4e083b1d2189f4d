"""Checkpoints side by side: what `compare` finds."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphsparse.measures.notebook import table
from graphsparse.measures.tables import plain_rows, write_csv, write_parquet
from graphsparse.runs.conditions import Values, holds
from graphsparse.runs.deaths import counted
from graphsparse.runs.pages import write_page
from graphsparse.runs.rows import ALL, PARAMETER, Row

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "checkpoint", "scope", "place", "connections", "kept", "active", "direct", "effective",
    "direct_compression", "effective_compression", "collapsed", "units", "live", "starved", "stranded", "anp", "active_anp",
    "born", "died", "active_born", "active_died", "units_born", "units_died", "units_cut", "overlap", "active_overlap",
    "fan_in", "fan_in_variation", "active_fan_in_variation",
)  # fmt: skip
UNITS = ("checkpoint", "layer", "unit", "change", "lost", "cut_by")
NOT_MEASURES = ("checkpoint", "scope", "place", "collapsed")


@dataclass(frozen=True, eq=False, repr=False)
class CheckpointComparison:
    """Several checkpoints of one network, named A, B, C and so on; ``files`` says which is which.

    ``frame`` has a row per checkpoint and place, in all and by parameter. What changed (``born``, ``died``, ``units_cut``,
    ``overlap`` and their kin) is since A, in the words of `graphsparse.track`. ``units`` has a row per unit that died or
    came to life since A. ``overlaps`` has, for each two checkpoints, the intersection over union of what they keep and of
    what is active. ``topology`` has metrics in all side by side.
    """

    files: Mapping[str, str]
    rows: tuple[Row, ...]
    unit_rows: tuple[Row, ...]
    overlap_rows: tuple[Row, ...]
    topology_rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def frame(self) -> pandas.DataFrame:
        """A row per checkpoint and place."""
        import pandas  # here, for it takes a quarter of a second to import

        return pandas.DataFrame(self.rows, columns=list(COLUMNS))

    @property
    def totals(self) -> pandas.DataFrame:
        """A column per checkpoint: what holds in all."""
        frame = self.frame
        return frame[frame["scope"] == ALL].drop(columns=["scope", "place"]).set_index("checkpoint").T

    @property
    def parameters(self) -> pandas.DataFrame:
        """A row per parameter, columns (measure, checkpoint)."""
        chosen = self.frame[self.frame["scope"] == PARAMETER].drop(columns="scope")
        names = list(dict.fromkeys(chosen["place"]))
        wide = chosen.pivot(index="place", columns="checkpoint").reindex(names)
        return wide.rename_axis(index="parameter", columns=["measure", "checkpoint"])

    @cached_property
    def units(self) -> pandas.DataFrame:
        """A row per unit that died or came to life since A: its layer and number there, and for the dead what they lost
        and whose drops were enough for it."""
        import pandas

        return pandas.DataFrame(self.unit_rows, columns=list(UNITS))

    @cached_property
    def overlaps(self) -> pandas.DataFrame:
        """A row per pair of checkpoints: ``kept`` and ``active``, intersection over union."""
        import pandas

        return pandas.DataFrame(self.overlap_rows, columns=["one", "other", "kept", "active"]).set_index(
            ["one", "other"]
        )

    @cached_property
    def topology(self) -> pandas.DataFrame:
        """A row per metric, columns (checkpoint, part)."""
        import pandas

        found = pandas.DataFrame(self.topology_rows, columns=["metric", "checkpoint", "kept", "active"])
        names = list(dict.fromkeys(found["metric"]))
        wide = found.pivot(index="metric", columns="checkpoint", values=["kept", "active"]).reindex(names)
        wide.columns = wide.columns.swaplevel()
        return wide.reindex(columns=[(name, part) for name in self.files for part in ("kept", "active")])

    @property
    def measures(self) -> Values:
        """What a condition may name, by checkpoint: what holds in all, and the metrics, with ``active_`` those of what is
        active."""
        found = {row["checkpoint"]: _numbers(row) for row in self.rows if row["scope"] == ALL}
        for row in self.topology_rows:
            metric = {row["metric"]: row["kept"], f"active_{row['metric']}": row["active"]}
            found[row["checkpoint"]] = {**metric, **found[row["checkpoint"]]}
        return found

    def holds(self, condition: str) -> bool:
        """Whether a condition such as ``B.effective_compression < 0.9 * A.effective_compression`` holds.

        A measure without a checkpoint is that of the last one. Raises ArgumentError for what is no condition.
        """
        return holds(condition, self.measures)

    def __repr__(self) -> str:
        named = ", ".join(f"{letter}: {name}" for letter, name in self.files.items())
        return f"CheckpointComparison({named}; .totals .parameters .units .overlaps .topology .frame)"

    def _repr_html_(self) -> str:
        return table("Comparison", [f"{key}: {name}" for key, name in self.files.items()] + [*self.notes], self.totals)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is not finite is None. Units are counted; ``units`` has them one by one."""
        return {
            "checkpoints": dict(self.files),
            "rows": plain_rows(self.rows),
            "overlaps": plain_rows(self.overlap_rows),
            "units": plain_rows(counted(self.unit_rows)),
            "topology": plain_rows(self.topology_rows),
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
        return write_page("comparison_page", self, path, command)


def _numbers(row: Row) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name not in NOT_MEASURES}

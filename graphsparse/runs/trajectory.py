"""The trajectory of a run: what its checkpoints are, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from graphsparse.errors import MaskError
from graphsparse.measures.tables import plain_rows, table
from graphsparse.pages import reproduction
from graphsparse.pages.lines import lines
from graphsparse.pages.sections import Alert, Page, Section, alert_section, few
from graphsparse.pages.table import Table, cells_of, heads_of, same, section
from graphsparse.runs.deaths import counted, grouped
from graphsparse.runs.result import Result, framed, in_scope
from graphsparse.runs.rows import ALL, PARAMETER, Row

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "step", "checkpoint", "scope", "place", "connections", "kept", "active", "direct", "effective",
    "direct_compression", "effective_compression", "collapsed", "units", "live", "starved", "stranded", "anp", "active_anp",
    "itop", "active_itop", "born", "died", "active_born", "active_died", "units_born", "units_died", "units_cut",
    "overlap_before", "overlap_last", "active_overlap_before", "active_overlap_last",
    "fan_in", "fan_in_variation", "active_fan_in_variation",
)  # fmt: skip
DEATHS = ("step", "layer", "unit", "lost", "cut_by", "back")
PANELS = {
    "Compression": {"direct": "direct_compression", "effective": "effective_compression"},
    "Overlap of masks": {"with the step before": "overlap_before", "with the last": "overlap_last"},
    "Shares": {"connections ever kept (ITOP)": "itop", "units joined (ANP)": "anp"},
    "Units alive": {"on a path from an input to an output": "live"},
    "Units born and dead": {"born": "units_born", "died": "units_died"},
}
STEPS = (
    "kept", "active", "direct_compression", "effective_compression", "live", "starved", "stranded", "anp", "itop", "born",
    "died", "units_born", "units_died", "overlap_before", "overlap_last",
)  # fmt: skip
OF_LAST = ("connections", *STEPS, "units_cut", "fan_in", "fan_in_variation")
MOST = 500
"""Rows of a page's table of deaths; the frame has all."""


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Result):
    """What became of a network from step to step.

    ``frame`` has a row per step and place, in all (``scope`` "all") and for each parameter; ``totals`` and ``parameters``
    show one scope each. ``deaths`` has a row per death of a unit. ``collapses`` says at which step nothing was active any
    more. ``skipped`` has the checkpoints that cannot be read, with the reason; ``notes``, what a reader should know.

    Columns of the frame, beside those of `graphsparse.sparsity` and `graphsparse.topology`: ``live`` units lie between a
    source and a sink. ``anp``: share of the units with a kept connection, of those that could have one; of a parameter, of
    the units that it feeds (Zhang et al. 2024). ``itop``: share of the connections that were kept at any step so far (Liu
    et al. 2021). ``born`` and ``died``: connections since the step before; ``units_cut``: units that died and would live
    had this parameter alone kept what it dropped. ``overlap_before`` and ``overlap_last``: intersection over union with the
    masks of the step before and of the last step. ``fan_in_variation``: coefficient of variation of the connections per
    row of a parameter (Profiled Sparse Networks, 2026). What begins with ``active_`` is the same of active connections.
    """

    COLUMNS: ClassVar = COLUMNS

    title: str
    rows: tuple[Row, ...]
    death_rows: tuple[Row, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> pandas.DataFrame:
        """A row per step: what holds in all."""
        return self.frame[self.frame["scope"] == ALL].drop(columns=["scope", "place"]).set_index("step")

    @property
    def parameters(self) -> pandas.DataFrame:
        """A row per parameter and step."""
        chosen = (
            self.frame[self.frame["scope"] == PARAMETER].drop(columns="scope").rename(columns={"place": "parameter"})
        )
        by_name = chosen.set_index(["parameter", "step"])
        return by_name.sort_index(level="parameter", sort_remaining=False, kind="stable")

    @cached_property
    def deaths(self) -> pandas.DataFrame:
        """A row per death of a unit: the step, its layer and number there, what it lost ("sources", "sinks"), which masks
        cut it, and the step at which it came back, if it did."""
        return framed(self.death_rows, DEATHS).astype({"back": "Int64"})

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that were read, rising."""
        return tuple(row["step"] for row in in_scope(ALL, self.rows))

    @property
    def collapses(self) -> dict[str, int]:
        """By parameter the first step at which nothing of it is active; under "" that of the whole network."""
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

    def page(self, command: str | None = None) -> Page:
        """Alerts, pictures over the steps, and tables of steps, deaths and parameters; ``command`` is what was typed."""
        rows, parameters, steps = in_scope(ALL, self.rows), in_scope(PARAMETER, self.rows), self.steps
        last = [row for row in parameters if row["step"] == steps[-1]]
        sections = [
            alert_section(_alerts(self), "None: every checkpoint was read, and something was active in every parameter."),
            Section("pictures", "Over the steps", {"pictures": list(_pictures(steps, rows, parameters))}),
            section("steps", "Steps", Table("step", heads_of(STEPS), [(str(row["step"]), cells_of(row, STEPS)) for row in rows])),
            section("deaths", "Deaths of units", _deaths(self.death_rows)),
            section("parameters", "Parameters at the last step", Table(
                "parameter", heads_of(OF_LAST), [(row["place"], cells_of(row, OF_LAST)) for row in last],
            )),
            reproduction.section(reproduction.Origin(), command),
        ]  # fmt: skip
        return Page(self.title, f"A run of {len(steps)} checkpoints", tuple(sections))


def _alerts(found: Trajectory) -> Iterator[Alert]:
    gone = [
        Alert("severe", f"From step {step} on nothing is active in {place or 'the network'}.",
              "#parameters" if place else "#steps")
        for place, step in found.collapses.items()
    ]  # fmt: skip
    yield from few(gone, "parameters in which nothing is active", "#parameters")
    yield from few([Alert("warning", f"Skipped: {error}") for error in found.skipped.values()], "were skipped", "")
    yield from (Alert("note", note) for note in found.notes)


def _pictures(steps: Sequence[int], rows: Sequence[Row], parameters: Sequence[Row]) -> Iterator[tuple[str, Any]]:
    for title, series in PANELS.items():
        yield title, lines(title, steps, {name: [row[column] for row in rows] for name, column in series.items()})
    spread: dict[int, list[float]] = {step: [] for step in steps}
    for row in parameters:
        if math.isfinite(row["fan_in_variation"]):
            spread[row["step"]].append(row["fan_in_variation"])
    ends: dict[str, Callable[[list[float]], float]] = {"median of parameters": median, "greatest": max}
    spreads = {name: [of(each) if each else None for each in spread.values()] for name, of in ends.items()}
    yield "Variation of fan-in", lines("Variation of fan-in", steps, spreads)


def _deaths(rows: Sequence[Row]) -> Table:
    """A row for the deaths of each kind; the kinds with the most units first."""
    columns = ("step", "lost", "cut_by", "back", "units", "which")
    kinds = sorted(grouped(rows), key=lambda row: -row["units"])
    below = "" if len(kinds) <= MOST else f"The {MOST} largest of {len(kinds):,} kinds; the frame has all."
    found = [(row["layer"], cells_of(row, columns)) for row in kinds[:MOST]]
    return Table("layer", heads_of(columns), found, same(kinds[:MOST], "lost"), below)

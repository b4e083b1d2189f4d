"""Checkpoints side by side: what `compare` finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from graphsparse.measures.tables import plain_rows, table
from graphsparse.pages import reproduction
from graphsparse.pages.lines import lines
from graphsparse.pages.sections import Alert, Page, Section, alert_section, few
from graphsparse.pages.table import Cell, Head, Table, cell, cells_of, heads_of, same, section
from graphsparse.runs.conditions import Values, holds
from graphsparse.runs.deaths import counted, grouped
from graphsparse.runs.result import Result, framed, in_scope
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
MEASURES = (
    "connections", "kept", "active", "direct", "effective", "direct_compression", "effective_compression", "live", "starved",
    "stranded", "anp", "born", "died", "units_born", "units_died", "overlap", "active_overlap",
)  # fmt: skip
SPARSITIES, CHANGES = ("direct", "effective"), ("overlap", "born", "died", "units_born", "units_died")
NOT_MEASURES = ("checkpoint", "scope", "place", "collapsed")


@dataclass(frozen=True, eq=False, repr=False)
class CheckpointComparison(Result):
    """Several checkpoints of one network, named A, B, C and so on; ``files`` says which is which.

    ``frame`` has a row per checkpoint and place, in all and by parameter. What changed (``born``, ``died``, ``units_cut``,
    ``overlap`` and their kin) is since A, in the words of `graphsparse.track`. ``units`` has a row per unit that died or
    came to life since A. ``overlaps`` has, for each two checkpoints, the intersection over union of what they keep and of
    what is active. ``topology`` has metrics in all side by side.
    """

    COLUMNS: ClassVar = COLUMNS

    files: Mapping[str, str]
    rows: tuple[Row, ...]
    unit_rows: tuple[Row, ...]
    overlap_rows: tuple[Row, ...]
    topology_rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> pandas.DataFrame:
        """A column per checkpoint: what holds in all."""
        return self.frame[self.frame["scope"] == ALL].drop(columns=["scope", "place"]).set_index("checkpoint").T

    @property
    def parameters(self) -> pandas.DataFrame:
        """A row per parameter, columns (measure, checkpoint)."""
        chosen = self.frame[self.frame["scope"] == PARAMETER].drop(columns="scope")
        names = list(dict.fromkeys(chosen["place"]))
        wide = chosen.pivot(index="place", columns="checkpoint").reindex(names)
        return wide.rename_axis(index="parameter", columns=["measure", "checkpoint"])

    @cached_property
    def units(self) -> pandas.DataFrame:
        """A row per unit that died or came to life since A: its layer and number there; of the dead also what they lost
        and which masks cut them."""
        return framed(self.unit_rows, UNITS)

    @cached_property
    def overlaps(self) -> pandas.DataFrame:
        """A row per pair of checkpoints: ``kept`` and ``active``, intersection over union."""
        return framed(self.overlap_rows, ("one", "other", "kept", "active")).set_index(["one", "other"])

    @cached_property
    def topology(self) -> pandas.DataFrame:
        """A row per metric, columns (checkpoint, part)."""
        found = framed(self.topology_rows, ("metric", "checkpoint", "kept", "active"))
        names = list(dict.fromkeys(found["metric"]))
        wide = found.pivot(index="metric", columns="checkpoint", values=["kept", "active"]).reindex(names)
        wide.columns = wide.columns.swaplevel()
        return wide.reindex(columns=[(name, part) for name in self.files for part in ("kept", "active")])

    @property
    def measures(self) -> Values:
        """What a condition may name, by checkpoint: the numbers in all, and the metrics; ``active_`` and a metric's name is
        the metric of what is active."""
        found: dict[str, dict[str, float]] = {name: {} for name in self.files}
        for row in self.topology_rows:
            found[row["checkpoint"]] |= {row["metric"]: row["kept"], f"active_{row['metric']}": row["active"]}
        for row in in_scope(ALL, self.rows):
            numbers = {name: float(value) for name, value in row.items() if name not in NOT_MEASURES}
            found[row["checkpoint"]] |= numbers
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

    def page(self, command: str | None = None) -> Page:
        """Everything side by side; ``command`` is what the page says was typed."""
        names, notes = list(self.files), [Alert("note", note) for note in self.notes]
        gone = [
            Alert("severe", f"{row['checkpoint']}: nothing is active{' in ' + row['place'] if row['place'] else ''}.",
                  "#parameters" if row["place"] else "#checkpoints")
            for row in self.rows if row["collapsed"]
        ]  # fmt: skip
        said = f"{'; '.join(f'{name}: {file}' for name, file in self.files.items())}. Differences are to {names[0]}."
        sections = [
            alert_section([*few(gone, "have collapsed", "#parameters"), *notes], "None: none of them has collapsed."),
            section("checkpoints", "Side by side", Table("measure", _heads("", names), _totals(self), below=said)),
            section("parameters", "By parameter", _parameters(self)),
            Section("pictures", "Parameter by parameter", {"pictures": list(_pictures(self))}),
            section("overlaps", "Overlap of masks", _pairs(self.overlap_rows)),
            section("units", "Units since the first", _units(self.unit_rows)),
            section("topology", "Topology", _metrics(self, names)),
            reproduction.section(reproduction.Origin(tuple(self.files.values())), command),
        ]
        return Page(" and ".join(names), "Checkpoints of one network side by side", tuple(sections))


def _heads(measure: str, names: Sequence[str]) -> list[Head]:
    """A column for each checkpoint, and for the difference of each later one to the first."""
    start = f"{measure} " if measure else ""
    return [
        Head(f"{start}{name}".replace("_", " ")) for name in (*names, *(f"{name} - {names[0]}" for name in names[1:]))
    ]


def _cells(measure: str, values: Sequence[Any]) -> list[Cell]:
    """A measure of each checkpoint, and the differences of the later ones to the first."""
    differences = [None if None in (value, values[0]) else value - values[0] for value in values[1:]]
    return [*(cell(measure, value) for value in values), *(cell(measure, each, signed=True) for each in differences)]


def _totals(found: CheckpointComparison) -> list[tuple[str, list[Cell]]]:
    rows = in_scope(ALL, found.rows)
    return [(measure.replace("_", " "), _cells(measure, [row[measure] for row in rows])) for measure in MEASURES]


def _parameters(found: CheckpointComparison) -> Table:
    """A row for each parameter: densities of every checkpoint and their differences, then what changed since the first."""
    names, places = list(found.files), dict[str, list[Row]]()
    for row in in_scope(PARAMETER, found.rows):
        places.setdefault(row["place"], []).append(row)
    heads = [Head("connections"), *(head for measure in SPARSITIES for head in _heads(measure, names))]
    heads += [Head(f"{measure} {name}".replace("_", " ")) for measure in CHANGES for name in names[1:]]
    rows = []
    for place, of in places.items():
        cells = [each for measure in SPARSITIES for each in _cells(measure, [row[measure] for row in of])]
        changes = [cell(measure, row[measure]) for measure in CHANGES for row in of[1:]]
        rows.append((place, [cell("connections", of[0]["connections"]), *cells, *changes]))
    collapsed = {f"collapsed in {name}": [k for k, of in enumerate(places.values()) if of[n]["collapsed"]]
                 for n, name in enumerate(names)}  # fmt: skip
    return Table("parameter", heads, rows, {name: numbers for name, numbers in collapsed.items() if numbers})


def _pictures(found: CheckpointComparison) -> Iterator[tuple[str, Any]]:
    """Lines over the parameters in the network's order, a line for each checkpoint."""
    rows, first = in_scope(PARAMETER, found.rows), next(iter(found.files))
    count = len({row["place"] for row in rows})
    for title, measure in (("Effective compression", "effective_compression"), (f"Overlap with {first}", "overlap")):
        series: dict[str, list[float]] = {}
        for row in rows:
            if measure != "overlap" or row["checkpoint"] != first:
                series.setdefault(row["checkpoint"], []).append(row[measure])
        yield title, lines(title, range(1, count + 1), series, "parameters")


def _pairs(rows: Sequence[Row]) -> Table:
    columns = ("kept", "active")
    found = [(f"{row['one']} and {row['other']}", cells_of(row, columns)) for row in rows]
    return Table("pair", heads_of(columns), found, below="Intersection over union.")


def _units(rows: Sequence[Row]) -> Table:
    columns, kinds = ("checkpoint", "change", "lost", "cut_by", "units", "which"), grouped(rows)
    found = [(row["layer"], cells_of(row, columns)) for row in kinds]
    return Table("layer", heads_of(columns), found, {**same(kinds, "change"), **same(kinds, "checkpoint")})


def _metrics(found: CheckpointComparison, names: Sequence[str]) -> Table:
    """A row for each metric of what is kept, and one of what is active."""
    metrics: dict[str, dict[str, Row]] = {}
    for row in found.topology_rows:
        metrics.setdefault(row["metric"], {})[row["checkpoint"]] = row
    rows = [(metric if part == "kept" else f"{metric}, active", _cells(metric, [of[name][part] for name in names]))
            for metric, of in metrics.items() for part in ("kept", "active")]  # fmt: skip
    return Table("metric", _heads("", names), rows)

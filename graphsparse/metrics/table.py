"""A row of the table of metrics: a function of a part of the graph, and what it finds in all, by layer, by parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from graphsparse.errors import ArgumentError, needs_extra
from graphsparse.measures.names import metric_names, suggestion
from graphsparse.metrics.edges import add_up
from graphsparse.metrics.parts import Part, Swept


@dataclass(frozen=True, eq=False)
class Found:
    """The values of a metric: in all, of each layer (in the graph's order), of each parameter; None where it has no meaning.

    NaN is an undefined value; ``undefined`` says why.
    """

    total: float | None = None
    layers: np.ndarray | None = None
    parameters: Mapping[str, float] | None = None
    undefined: str = ""

    @classmethod
    def of_units(cls, part: Part, values: np.ndarray) -> Found:
        """The sum of a whole number of each unit, in all and by layer."""
        sums = np.zeros(len(part.graph.layers), np.int64)
        add_up(values, np.asarray([0, *(layer.stop for layer in part.graph.layers)]), sums)
        return cls(float(sums.sum()), sums.astype(float))

    @classmethod
    def over_units(
        cls, part: Part, values: np.ndarray, counted: np.ndarray, summary: Callable[[np.ndarray], Any], undefined: str
    ) -> Found:
        """A summary of a value of the units that are ``counted``, in all and by layer; NaN where there are none."""
        of = lambda here: float(summary(values[here][counted[here]])) if counted[here].any() else np.nan
        layers = np.asarray([of(slice(layer.start, layer.stop)) for layer in part.graph.layers])
        return cls(of(slice(None)), layers, None, undefined)

    @classmethod
    def of_parameters(cls, values: Mapping[str, float]) -> Found:
        """A value of each parameter, and their sum."""
        values = {name: float(value) for name, value in values.items()}
        return cls(float(sum(values.values())), None, values)

    @classmethod
    def over_parameters(
        cls, values: Mapping[str, float], summary: Callable[[list[float]], Any], undefined: str
    ) -> Found:
        """A value of each parameter, and a summary of those that are defined; NaN where none is."""
        defined = [value for value in values.values() if not np.isnan(value)]
        return cls(float(summary(defined)) if defined else np.nan, None, values, undefined)


@dataclass(frozen=True, eq=False)
class Metric:
    """A row of the table: ``function`` finds the values of a `Part`.

    ``definition`` says what is counted, whose definition it is, and what it costs. On a graph of more than ``limit`` edges
    the metric is found only where it is asked for by its name. The table also has it as a fraction ``of`` another row. A
    fraction stands ``beside`` the row of its count. A ``shared`` metric is the same for both parts and found once.
    """

    name: str
    group: str
    unit: str
    function: Callable[[Part], Found]
    definition: str
    limit: int | None = None
    of: str = ""
    beside: str = ""
    shared: bool = False

    def __call__(self, part: Part) -> Found:
        return part.swept.once(_of_both, self.function) if self.shared else part.once(self.function)

    def __repr__(self) -> str:
        return f"Metric({self.name!r}, {self.group!r}, {self.unit!r})"


def _of_both(swept: Swept, function: Callable[[Part], Found]) -> Found:
    return function(Part(swept, "active"))


def metric(
    group: str, unit: str, limit: int | None = None, of: str = "", shared: bool = False
) -> Callable[[Callable[[Part], Found]], Metric]:
    """Make a function a row of the table, under its own name; its docstring is the definition."""
    return lambda found: Metric(found.__name__, group, unit, found, found.__doc__ or "", limit, of, shared=shared)


Row = tuple[str, str, Callable[[Part], Any], str]
"""A row's name, what the table also has it as a fraction of, the function of its values, and its definition."""


def rows_of_units(group: str, unit: str, rows: Iterable[Row]) -> tuple[Metric, ...]:
    """Rows that are the sum of a value of each unit, in all and by layer."""
    return _rows(group, unit, rows, Found.of_units)


def rows_of_parameters(group: str, unit: str, rows: Iterable[Row]) -> tuple[Metric, ...]:
    """Rows that are a value of each parameter, and their sum."""
    return _rows(group, unit, rows, lambda part, values: Found.of_parameters(values))


def _rows(group: str, unit: str, rows: Iterable[Row], add: Callable[[Part, Any], Found]) -> tuple[Metric, ...]:
    def row(name: str, of: str, values: Callable[[Part], Any], text: str) -> Metric:
        return Metric(name, group, unit, lambda part: add(part, values(part)), text, of=of)

    return tuple(row(*each) for each in rows)


def fraction(count: Metric, of: Metric) -> Metric:
    """The row ``<count>_of_<of>``: one count as a fraction of another, NaN where that one is 0."""

    def function(part: Part) -> Found:
        above, below = count(part), of(part)
        total = None if above.total is None or below.total is None else float(_quotient(above.total, below.total))
        layers = None if above.layers is None or below.layers is None else _quotient(above.layers, below.layers)
        parameters = None
        if above.parameters is not None and below.parameters is not None:
            others = below.parameters
            parameters = {name: float(_quotient(value, others[name])) for name, value in above.parameters.items()}
        unknown = next((f", or {each.undefined}" for each in (below, above) if each.undefined), "")
        return Found(total, layers, parameters, f"{of.name} is 0{unknown}")

    name, limit = f"{count.name}_of_{of.name}", count.limit or of.limit
    text = f"{count.name} / {of.name}. Undefined where {of.name} is 0. Cost: that of both."
    return Metric(name, count.group, "fraction", function, text, limit, beside=count.name)


def _quotient(above: Any, below: Any) -> np.ndarray:
    """One number, or array of numbers, divided by another; NaN where that is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) != 0)


def table_of(modules: Iterable[object]) -> dict[str, Metric]:
    """The rows that modules define, by name: group by group, in the modules' order, each fraction after its count."""
    values = [each for module in modules for value in vars(module).values() for each in _several(value)]
    counts = {value.name: value for value in values if isinstance(value, Metric)}
    groups = dict.fromkeys(row.group for row in counts.values())
    ordered = [row for group in groups for row in counts.values() if row.group == group]
    rows = [each for row in ordered for each in ([row, fraction(row, counts[row.of])] if row.of else [row])]
    return {row.name: row for row in rows}


def _several(value: object) -> Iterable[object]:
    return value if isinstance(value, tuple) else (value,)


def library(module: str, extra: str) -> Any:
    """The module of an optional library.

    Raises:
        MissingExtra: it is not installed; the text names the extra that brings it.
    """
    with needs_extra(extra, f"{module.partition('.')[0]} must be installed for this metric"):
        return import_module(module)


def chosen(table: Mapping[str, Metric], metrics: Any, groups: Iterable[str], rule: str, way_out: str) -> list[Metric]:
    """The rows that are asked for by name, or by a name of ``groups``, in the table's order; all for None.

    Raises ArgumentError with the rule and the way out where a name is none of these.
    """
    names, known = metric_names(metrics), [*table, *groups]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ArgumentError(
            rule, place="metrics", received=", ".join(unknown), way_out=f"{suggestion(unknown[0], known)}{way_out}"
        )
    return [row for row in table.values() if names is None or row.name in names or row.group in names]

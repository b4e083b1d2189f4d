"""A row of the table of metrics: a function over a part of the graph, and what it found in all, by layer, by parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from graphsparse.metrics.parts import Part


@dataclass(frozen=True, eq=False)
class Found:
    """What a metric is: in all, of each layer (in the graph's order), of each parameter; None where it has no meaning.

    NaN is an undefined value; ``undefined`` says why.
    """

    total: float | None = None
    layers: np.ndarray | None = None
    parameters: Mapping[str, float] | None = None
    undefined: str = ""

    @classmethod
    def of_units(cls, part: Part, flags: np.ndarray, undefined: str = "") -> Found:
        """The sum of a value of each unit, in all and by layer."""
        add = np.count_nonzero if flags.dtype == bool else np.sum
        layers = np.asarray([add(flags[layer.start : layer.stop]) for layer in part.graph.layers], float)
        return cls(float(layers.sum()), layers, None, undefined)

    @classmethod
    def of_parameters(cls, values: Mapping[str, float], undefined: str = "") -> Found:
        """A value of each parameter, and their sum."""
        return cls(float(sum(values.values())), None, values, undefined)


@dataclass(frozen=True, eq=False)
class Metric:
    """A row of the table: ``function`` finds the values of a `Part`; its docstring says definition, source and cost.

    On a graph of more than ``limit`` edges it is found only where it is asked for by its name. A fraction stands
    ``beside`` the row of its count.
    """

    name: str
    group: str
    unit: str
    function: Callable[[Part], Found]
    limit: int | None = None
    beside: str = ""

    def __call__(self, part: Part) -> Found:
        return part.once(self.function)

    @property
    def definition(self) -> str:
        """What is counted, from whom the definition is, and what it costs."""
        return self.function.__doc__ or ""

    def __repr__(self) -> str:
        return f"Metric({self.name!r}, {self.group!r}, {self.unit!r})"


def metric(group: str, unit: str, limit: int | None = None) -> Callable[[Callable[[Part], Found]], Metric]:
    """Make a function a row of the table, under its own name."""
    return lambda function: Metric(function.__name__, group, unit, function, limit)


def fraction(count: Metric, of: Metric) -> Metric:
    """The row ``<count>_of_<of>``: one count as a fraction of another, NaN where that one is 0."""

    def function(part: Part) -> Found:
        above, below = count(part), of(part)
        total = None if above.total is None or below.total is None else _quotient(above.total, below.total)
        layers = None if above.layers is None or below.layers is None else _quotients(above.layers, below.layers)
        parameters = None
        if above.parameters is not None and below.parameters is not None:
            parameters = {name: _quotient(value, below.parameters[name]) for name, value in above.parameters.items()}
        unknown = next((f", or {each.undefined}" for each in (below, above) if each.undefined), "")
        return Found(total, layers, parameters, f"{of.name} is 0{unknown}")

    function.__doc__ = f"{count.name} / {of.name}. Undefined where {of.name} is 0. Cost: that of both."
    return Metric(f"{count.name}_of_{of.name}", count.group, "fraction", function, count.limit or of.limit, count.name)


def _quotient(above: float, below: float) -> float:
    return above / below if below else float("nan")


def _quotients(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)


def rows_of(module: object) -> dict[str, Metric]:
    """The rows that a module defines, by name, in its order."""
    values = [each for value in vars(module).values() for each in (value if isinstance(value, tuple) else [value])]
    return {value.name: value for value in values if isinstance(value, Metric)}


def in_order(rows: Mapping[str, Metric]) -> dict[str, Metric]:
    """The rows group by group, each fraction after the row of its count."""
    names, groups = list(rows), list(dict.fromkeys(row.group for row in rows.values()))
    place = {name: (groups.index(row.group), names.index(row.beside or name)) for name, row in rows.items()}
    return {name: rows[name] for name in sorted(names, key=lambda name: (*place[name], bool(rows[name].beside)))}

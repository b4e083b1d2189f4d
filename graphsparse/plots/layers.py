"""Densities by layer: of one network what is kept and what is active; of several what is active in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.measures.sparsity import sparsity
from graphsparse.plots.style import ACTIVE, COLOURS, DEAD, FAINT, KEPT, MARKERS, axes, legend, plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from graphsparse.runs.comparison import CheckpointComparison

APART = 0.14  # of a line, between the dots of checkpoints
ROW = 0.22  # inches of a parameter's line
MOST = 60  # names on an axis; of more some are left out


def density(found: Any, *, ax: Axes | None = None) -> Axes:
    """The share of the connections of each parameter that is kept, and that is active: a line per parameter.

    Args:
        found: a graph, or what `graphsparse.sparsity` or `graphsparse.analyze` gives.
        ax: the axes to draw on.

    Example:
        >>> import torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(3, 2), torch.zeros(1, 3), {"weight": torch.eye(2, 3) > 0})
        >>> gs.plots.density(graph).get_xlabel()
        'density'
    """
    rows: Mapping[str, Mapping[str, Any]] = (sparsity(found) if isinstance(found, LayeredGraph) else found).rows
    rows = {name: row for name, row in rows.items() if row["connections"]}
    series = {
        part: np.asarray([row[part] / row["connections"] for row in rows.values()]) for part in ("kept", "active")
    }
    ax = axes(ax, (6.0, 1.1 + ROW * max(4, len(rows))))
    _dots(ax, list(rows), series, [KEPT, ACTIVE], ["o", "o"], hollow=("kept",))
    legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


def comparison(found: CheckpointComparison, measure: str = "active", *, ax: Axes | None = None) -> Axes:
    """The share of the connections of each parameter that is active in each checkpoint.

    Args:
        found: what `graphsparse.compare` gives.
        measure: "active" or "kept".
        ax: the axes to draw on.
    """
    rows = [row for row in found.rows if row["scope"] == "parameter" and row["connections"]]
    names = list(dict.fromkeys(row["place"] for row in rows))
    series = {}
    for checkpoint, file in found.files.items():
        own = [row[measure] / row["connections"] for row in rows if row["checkpoint"] == checkpoint]
        series[checkpoint if file == checkpoint else f"{checkpoint}: {file.rpartition('/')[2]}"] = np.asarray(own)
    ax = axes(ax, (6.0, 1.1 + ROW * max(4, len(names))))
    _dots(ax, names, series, COLOURS, MARKERS)
    ax.set_xlabel(f"density of what is {measure}")
    legend(ax, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(3, len(series) + 1))
    return ax


def _dots(
    ax: Axes, names: Sequence[str], series: Mapping[str, np.ndarray], colours: Sequence[str], markers: Sequence[str],
    hollow: Sequence[str] = (),
) -> None:  # fmt: skip
    """A line per name and a dot per series; nothing at all is a cross at the left end."""
    places, values = np.arange(len(names)), np.stack(list(series.values()))
    least = values[values > 0].min() if (values > 0).any() else 0.1
    low = 10.0 ** np.floor(np.log10(least) - 0.15)
    shown = np.where(values > 0, values, low)
    ax.hlines(places, shown.min(0), shown.max(0), color=FAINT, linewidth=2.5, zorder=1)
    for number, (label, own) in enumerate(zip(series, values)):
        colour, marker = colours[number % len(colours)], markers[number % len(markers)]
        apart = 0 if hollow else APART * (number - (len(series) - 1) / 2)
        face = "white" if label in hollow else colour
        ax.plot(
            np.where(own > 0, own, np.nan), places + apart, marker, color=colour, markerfacecolor=face, markeredgewidth=1.5,
            markersize=6 if label in hollow else 4.5, label=label, zorder=3 + number,
        )  # fmt: skip
    gone = (values == 0).any(0)
    if gone.any():
        ax.plot(np.full(gone.sum(), low), places[gone], "x", color=DEAD, label="nothing", clip_on=False, zorder=9)
    ax.set(xscale="log", xlim=(low, 1.15), ylim=(len(names) - 0.5, -0.5), xlabel="density")
    step = -(-len(names) // MOST)
    ax.set_yticks(places, [name if at % step == 0 else "" for at, name in enumerate(names)], parse_math=False)
    plainly(ax, grid="x")
    ax.tick_params(axis="y", length=0)

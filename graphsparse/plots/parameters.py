"""Parameters: how much of each is kept and active, in one network or several; and the mask of one as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graphsparse.errors import ArgumentError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.names import connected_parameter
from graphsparse.measures.sparsity import sparsity
from graphsparse.passes.liveness import active_connections
from graphsparse.plots.style import ACTIVE, BLACK, COLOURS, DEAD, FAINT, KEPT, MARKERS, axes, legend, plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from graphsparse.runs.comparison import CheckpointComparison

APART = 0.14  # of a line, between the dots of checkpoints
ROW = 0.22  # inches of a parameter's line
NAMES = 60  # on an axis; of more some are left out
MOST = 256
"""Dots of a mask along a side that has more than twice as many entries: each is a block of them, the darker the more
of them are kept; so one in a thousand is seen, too."""


def density(found: Any, *, ax: Axes | None = None) -> Axes:
    """The share of the connections of each parameter that is kept, and that is active: a line per parameter.

    Args:
        found: a graph, or what `graphsparse.sparsity` or `graphsparse.analyze` gives.

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
    step = -(-len(names) // NAMES)
    ax.set_yticks(places, [name if at % step == 0 else "" for at, name in enumerate(names)], parse_math=False)
    plainly(ax, grid="x")
    ax.tick_params(axis="y", length=0)


def mask(
    graph: LayeredGraph, parameter: str, *, order: Literal["as it is", "degree"] = "as it is", ax: Axes | None = None
) -> Axes:
    """The mask of a parameter, a row per output and a column per input and tap: white where dropped.

    Args:
        graph: as `graphsparse.export` gives it.
        parameter: the name of one of its parameters.
        order: "degree" puts the rows and columns with the most kept connections first, as a graphon is shown.

    Raises:
        MaskError: the graph has no such parameter. ArgumentError: another order.
    """
    name = connected_parameter(checked_graph(graph), parameter)
    shape = graph.shapes[name]
    flat = (shape[0], -1) if len(shape) > 1 else (1, -1)
    kept, active = graph.kept[name].unpack().reshape(flat), active_connections(graph)[name].reshape(flat)
    if order == "degree":
        rows, columns = (np.argsort(-kept.sum(axis), kind="stable") for axis in (1, 0))
        kept, active = kept[rows][:, columns], active[rows][:, columns]
    elif order != "as it is":
        raise ArgumentError("an order must be 'as it is' or 'degree'", received=repr(order))
    ax = axes(ax, _size(kept.shape))
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    shares = [_means(each) for each in (kept & ~active, active)]
    image, filled = np.ones((*shares[0].shape, 3)), shares[0] + shares[1]
    scale = np.sqrt(filled / max(filled.max(initial=0), 1e-9)) / np.maximum(filled, 1e-9)
    for share, colour in zip(shares, (KEPT, ACTIVE)):
        image -= (share * scale)[..., None] * (1 - np.asarray(to_rgb(colour)))
    height, width = kept.shape
    ax.imshow(image.clip(0, 1), aspect="auto", extent=(0, width, height, 0))
    ordered = ", by degree" if order == "degree" else ""
    ax.set_xlabel(f"input{' and tap' if len(shape) > 2 else ''}{ordered}")
    ax.set_ylabel(f"output{ordered}")
    ax.set_title(
        f"{parameter}: {kept.sum():,} of {kept.size:,} kept, {active.sum():,} active", fontsize=9, parse_math=False
    )
    colours = {"active": ACTIVE, "kept, dead": KEPT, "dropped": "white"}
    handles = [Patch(facecolor=c, edgecolor=BLACK, linewidth=0.5, label=label) for label, c in colours.items()]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
    return ax


def _means(flags: np.ndarray) -> np.ndarray:
    """The flags as numbers; means of blocks where there are more than `MOST` along a side."""
    result: np.ndarray = flags.astype(float)
    for axis in (0, 1):
        size = result.shape[axis]
        if size > 2 * MOST:
            starts = np.linspace(0, size, MOST, endpoint=False).astype(int)
            lengths = np.diff([*starts, size])
            sums = np.add.reduceat(result, starts, axis)
            result = sums / (lengths[:, None] if axis == 0 else lengths)
    return result


def _size(shape: tuple[int, ...]) -> tuple[float, float]:
    """Inches: as long as the mask is, within reason."""
    height, width = shape
    ratio = float(np.clip(height / max(1, width), 0.25, 1.4))
    return (6.0, 0.9 + 4.4 * ratio) if ratio < 1 else (1.6 + 4.4 / ratio, 5.3)

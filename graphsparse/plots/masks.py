"""The mask of a parameter as a picture: dropped, kept but dead, active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from graphsparse.errors import ArgumentError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.measures.names import connected_parameter
from graphsparse.passes.liveness import active_connections
from graphsparse.plots.style import ACTIVE, BLACK, KEPT, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 256
"""Dots of a picture along a side that has more than twice as many entries: each is a block of them, the darker the more
of them are kept; so one in a thousand is seen, too."""


def mask(
    graph: LayeredGraph, parameter: str, *, order: Literal["as it is", "degree"] = "as it is", ax: Axes | None = None
) -> Axes:
    """The mask of a parameter, a row per output and a column per input and tap: white where dropped.

    Args:
        graph: as `graphsparse.export` gives it.
        parameter: the name of one of its parameters.
        order: "degree" puts the rows and columns with the most kept connections first, as a graphon is shown.
        ax: the axes to draw on.

    Raises:
        MaskError: the graph has no such parameter. ArgumentError: another order.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    name = connected_parameter(checked_graph(graph), parameter)
    shape = graph.shapes[name]
    flat = (shape[0], -1) if len(shape) > 1 else (1, -1)
    kept, active = graph.kept[name].unpack().reshape(flat), active_connections(graph)[name].reshape(flat)
    if order == "degree":
        rows, columns = (np.argsort(-kept.sum(axis), kind="stable") for axis in (1, 0))
        kept, active = kept[rows][:, columns], active[rows][:, columns]
    elif order != "as it is":
        raise ArgumentError("an order must be 'as it is' or 'degree'", received=repr(order))
    shares = [_means(each) for each in (kept & ~active, active)]
    image, filled = np.ones((*shares[0].shape, 3)), shares[0] + shares[1]
    scale = np.sqrt(filled / max(filled.max(initial=0), 1e-9)) / np.maximum(filled, 1e-9)
    for share, colour in zip(shares, (KEPT, ACTIVE)):
        image -= (share * scale)[..., None] * (1 - np.asarray(to_rgb(colour)))
    ax = axes(ax, _size(kept.shape))
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

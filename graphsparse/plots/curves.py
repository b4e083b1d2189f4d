"""Effective against direct compression, at every threshold of a ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphsparse.plots.style import COLOURS, DASHES, GREY, RED, axes, legend, plainly

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


def curve(curves: Any, *, point: Any = None, ax: Axes | None = None) -> Axes:
    """Effective against direct compression, both logarithmic, a line per method; above the diagonal is what is dead.

    Args:
        curves: what `graphsparse.compression_curve` gives, several by name, or a frame with the column "method".
        point: a network to mark: what `graphsparse.sparsity` gives.
        ax: the axes to draw on.
    """
    frames = {name: frame[frame["active"] > 0] for name, frame in _frames(curves).items()}
    ax = axes(ax, (4.6, 4.0))
    for number, (name, frame) in enumerate(frames.items()):
        style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
        ax.plot(frame["direct_compression"], frame["effective_compression"], label=name, linewidth=1.8, **style)
    columns = [frame["direct_compression"] for frame in frames.values() if len(frame)]
    ends = [min(column.min() for column in columns), max(column.max() for column in columns)] if columns else [1, 10]
    ax.plot(ends, ends, color=GREY, linestyle=(0, (1, 2)), linewidth=1.2, label="no dead connections", zorder=1)
    if point is not None:
        ax.plot(
            point.direct_compression, point.effective_compression, "*", color=RED, markersize=12, label="this network"
        )
    ax.set(xscale="log", yscale="log", xlabel="direct compression", ylabel="effective compression")
    plainly(ax)
    legend(ax, loc="lower right", fontsize=8)
    return ax


def _frames(curves: Any) -> dict[str, pandas.DataFrame]:
    if isinstance(curves, Mapping):
        return {str(name): each.frame for name, each in curves.items()}
    if hasattr(curves, "groupby"):
        return {str(name): frame for name, frame in curves.groupby("method", sort=False)}
    return {"network": curves.frame}

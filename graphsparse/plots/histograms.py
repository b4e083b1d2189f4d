"""How many source-sink paths lead through each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphsparse.algebras import log10_of_pairs
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.passes.paths import path_counts
from graphsparse.plots.style import ACTIVE, BLACK, axes, legend, plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 40


def paths(graph: LayeredGraph, *, bins: int = BINS, ax: Axes | None = None) -> Axes:
    """A histogram of the number of source-sink paths through each active connection, in powers of ten.

    The title says how many kept connections have none. A shared connection counts with all its uses.

    Args:
        graph: as `graphsparse.export` gives it.
        bins: how many bars.
        ax: the axes to draw on.
    """
    ax = axes(ax)
    from matplotlib.ticker import MaxNLocator

    found = path_counts(checked_graph(graph)).connections()
    logs = np.concatenate([log10_of_pairs(each.ravel()) for each in found.values()] or [np.empty(0)])
    alive, kept = logs[np.isfinite(logs)], sum(graph.kept[name].count() for name in graph.shapes)
    if alive.size:
        edges = np.linspace(alive.min(), max(alive.max(), alive.min() + 1), bins + 1)
        ax.hist(alive, edges.tolist(), color=ACTIVE, edgecolor="white", linewidth=0.4)
        middle = float(np.median(alive))
        ax.axvline(middle, color=BLACK, linestyle="--", linewidth=1.2, label=f"median {_amount(middle)}")
        legend(ax)
    ax.set_title(f"{alive.size:,} active connections; {kept - alive.size:,} kept ones are on no path", fontsize=9)
    ax.set(xlabel="paths through a connection, log10", ylabel="connections")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    plainly(ax, grid="y")
    return ax


def _amount(log: float) -> str:
    return f"{10**log:,.0f}" if log < 5 else f"10^{log:.1f}"

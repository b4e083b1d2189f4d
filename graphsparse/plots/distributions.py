"""How edges are spread over units, and paths over connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphsparse.algebras import log10_of_pairs
from graphsparse.errors import MaskError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.metrics.parts import PARTS, Part, Swept
from graphsparse.passes.paths import path_counts
from graphsparse.plots.style import ACTIVE, BLACK, KEPT, axes, legend, logarithmic, plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 40
DASHED = {"into a unit": "-", "out of a unit": (0, (4, 1.5))}


def degrees(graph: LayeredGraph, *, layer: str | None = None, ax: Axes | None = None) -> Axes:
    """The share of units with at least so many edges, into them and out of them, of what is kept and of what is active.

    An axis is logarithmic where it spans more than a factor of ten; then a power law is a straight line. Sources have no
    edges into them and sinks none out of them, and are left out there. Units without any edge count as units.

    Args:
        graph: as `graphsparse.export` gives it; its csr matrix is made.
        layer: the name of a layer, for its units alone.

    Raises:
        MaskError: the graph has no such layer.
    """
    swept, chosen = Swept(checked_graph(graph)), _units(graph, layer)
    ax, amounts, shares = axes(ax), [1.0], [1.0]
    for name, colour in zip(PARTS, (KEPT, ACTIVE)):
        part = Part(swept, name)
        for kind, every, ends in (
            ("into a unit", part.in_degrees, graph.sources), ("out of a unit", part.out_degrees, graph.sinks),
        ):  # fmt: skip
            here = chosen.copy()
            here[ends] = False
            amount, share = _at_least(np.asarray(every)[here])
            amounts.extend(amount)
            shares.extend(share)
            label = f"{name}, {kind}"
            ax.step(amount, share, where="pre", color=colour, linestyle=DASHED[kind], linewidth=1.8, label=label)
    ax.set(xlabel="edges", ylabel="share of units with so many or more")
    logarithmic(ax, amounts, "x")
    logarithmic(ax, shares, "y")
    plainly(ax)
    legend(ax)
    return ax


def paths(graph: LayeredGraph, *, bins: int = BINS, ax: Axes | None = None) -> Axes:
    """A histogram of the number of source-sink paths through each active connection, in powers of ten.

    The title says how many kept connections have none. A shared connection counts with all its uses.

    Args:
        graph: as `graphsparse.export` gives it.
        bins: how many bars.
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
        amount = f"{10**middle:,.0f}" if middle < 5 else f"10^{middle:.1f}"
        ax.axvline(middle, color=BLACK, linestyle="--", linewidth=1.2, label=f"median {amount}")
        legend(ax)
    ax.set_title(f"{alive.size:,} active connections; {kept - alive.size:,} kept ones are on no path", fontsize=9)
    ax.set(xlabel="paths through a connection, log10", ylabel="connections")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    plainly(ax, grid="y")
    return ax


def _units(graph: LayeredGraph, layer: str | None) -> np.ndarray:
    flags = np.zeros(graph.n_units, bool)
    for each in graph.layers:
        flags[each.start : each.stop] = layer in (None, each.name)
    if layer is not None and all(each.name != layer for each in graph.layers):
        names = ", ".join(each.name for each in graph.layers[:6])
        raise MaskError("a layer must be one of the graph", place=layer, way_out=f"name one of: {names}")
    return flags


def _at_least(degree: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different degrees from 1 on, and the share of units that have as many or more."""
    amounts, counts = np.unique(degree, return_counts=True)
    share = counts[::-1].cumsum()[::-1] / max(1, len(degree))
    return amounts[amounts > 0], share[amounts > 0]

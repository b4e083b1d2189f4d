"""How edges are spread over units: degree distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.metrics.parts import PARTS, Part, Swept
from graphsparse.plots.style import ACTIVE, KEPT, axes, legend, logarithmic, plainly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHED = {"into a unit": "-", "out of a unit": (0, (4, 1.5))}


def degrees(graph: LayeredGraph, *, layer: str | None = None, ax: Axes | None = None) -> Axes:
    """The share of units with at least so many edges, into them and out of them, of what is kept and of what is active.

    An axis is logarithmic where it spans more than a factor of ten; then a power law is a straight line. Sources have no edges into them and sinks none out of them,
    and are left out there. Units without an edge of a kind are part of the whole.

    Args:
        graph: as `graphsparse.export` gives it; its csr matrix is made.
        layer: the name of a layer, for its units alone.
        ax: the axes to draw on.
    """
    swept = Swept(checked_graph(graph))
    ax, amounts, shares = axes(ax), [1.0], [1.0]
    for name, colour in zip(PARTS, (KEPT, ACTIVE)):
        part = Part(swept, name)
        for kind, every, ends in (
            ("into a unit", part.in_degrees, graph.sources), ("out of a unit", part.out_degrees, graph.sinks),
        ):  # fmt: skip
            here = _units(graph, layer)
            here[ends] = False
            amount, share = _at_least(np.asarray(every)[here])
            amounts.extend(amount)
            shares.extend(share)
            ax.step(
                amount, share, where="pre", color=colour, linestyle=DASHED[kind], linewidth=1.8, label=f"{name}, {kind}"
            )
    ax.set(xlabel="edges", ylabel="share of units with so many or more")
    logarithmic(ax, amounts, "x")
    logarithmic(ax, shares, "y")
    plainly(ax)
    legend(ax)
    return ax


def _units(graph: LayeredGraph, layer: str | None) -> np.ndarray:
    if layer is None:
        return np.ones(graph.n_units, bool)
    from graphsparse.errors import MaskError

    found = next((each for each in graph.layers if each.name == layer), None)
    if found is None:
        names = ", ".join(each.name for each in graph.layers[:6])
        raise MaskError("a layer must be one of the graph", place=layer, way_out=f"name one of: {names}")
    flags = np.zeros(graph.n_units, bool)
    flags[found.start : found.stop] = True
    return flags


def _at_least(degree: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different degrees from 1 on, and the share of units that have as many or more."""
    amounts, counts = np.unique(degree, return_counts=True)
    share = counts[::-1].cumsum()[::-1] / max(1, len(degree))
    return amounts[amounts > 0], share[amounts > 0]

"""The multipartite graph drawn: a column per rank, a dot per unit, a line per edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse.errors import TargetError
from graphsparse.graph import LayeredGraph, checked_graph
from graphsparse.layers import Layer
from graphsparse.metrics.parts import Swept
from graphsparse.plots.style import ACTIVE, DEAD, FAINT, KEPT, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 20_000
CROWDED = 8  # columns beyond which their names are turned
LIGHT = "#b5b5b5"
STATES = {
    "alive": ("o", ACTIVE),
    "constant": ("D", KEPT),
    "starved": ("v", DEAD),
    "stranded": ("^", DEAD),
    "both": (".", LIGHT),
}
LABELS = {"starved": "no way from a source", "stranded": "no way to a sink", "both": "neither"}


def network(graph: LayeredGraph, *, most: int = MOST, ax: Axes | None = None) -> Axes:
    """Draw every unit and every kept edge: active connections in blue, dead ones in orange, wires in grey.

    Layers stand from left to right by rank. Units say by their marker whether they are alive, constant, or what they lack.

    Args:
        graph: as `graphsparse.export` gives it.
        most: the most edges that are drawn.
        ax: the axes to draw on.

    Raises:
        TargetError: the graph has more edges.
    """
    swept = Swept(checked_graph(graph))
    edges, active = swept.edges["kept"].tocoo(), swept.edges["active"]
    if edges.nnz > most:
        raise TargetError(
            f"a drawn graph must have at most {most:,} edges", received=f"{edges.nnz:,}",
            way_out="take resolution='channel', a network that is pruned further, or a greater most=",
        )  # fmt: skip
    x, y = _places(graph)
    alive = active.tocoo()
    here = _among(edges.row, edges.col, alive.row, alive.col, graph.n_units)
    ax = axes(ax, (6.4, 4.2))
    wire = ~_among(edges.row, edges.col, *_connections(graph), graph.n_units)
    for label, use, colour in (
        ("wire", wire, FAINT), ("kept, dead", ~wire & ~here, KEPT), ("active", ~wire & here, ACTIVE),
    ):  # fmt: skip
        width = float(np.clip(25 / max(1, np.sqrt(use.sum())), 0.2, 1.2))
        style = {"color": colour, "linewidth": width, "alpha": 0.8, "zorder": 1 + (label == "active")}
        _lines(ax, (x, y), edges.row[use], edges.col[use], f"{label} ({int(use.sum()):,})", style)
    _units(ax, swept, x, y)
    _names(ax, graph, x)
    return ax


def _among(rows: np.ndarray, columns: np.ndarray, others: np.ndarray, theirs: np.ndarray, n: int) -> np.ndarray:
    """Whether each edge is among other ones."""
    return np.isin(rows.astype(np.int64) * n + columns, others.astype(np.int64) * n + theirs)


def _connections(graph: LayeredGraph) -> tuple[np.ndarray, np.ndarray]:
    """The units that kept connections join; all other edges are wires and products."""
    pairs = [block.pairs(graph.kept)[:2] for blocks in graph.kernels.values() for block in blocks]
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *(one for one, _ in pairs)]), np.concatenate([empty, *(other for _, other in pairs)])


def _places(graph: LayeredGraph) -> tuple[np.ndarray, np.ndarray]:
    """Where each unit stands: layers of one rank below each other, units evenly within their layer's share."""
    x, y = np.empty(graph.n_units), np.empty(graph.n_units)
    by_rank: dict[int, list[Layer]] = {}
    for layer in filter(len, graph.layers):
        by_rank.setdefault(layer.rank, []).append(layer)
    for place, rank in enumerate(sorted(by_rank)):
        layers = by_rank[rank]
        total = sum(map(len, layers))
        tall = 0.35 + 0.65 * total / max(sum(len(each) for each in others) for others in by_rank.values())
        first = 0
        for layer in layers:
            within = first + np.arange(len(layer)) + 0.5
            x[layer.start : layer.stop] = place
            y[layer.start : layer.stop] = 0.5 + tall * (within / total - 0.5) * -1
            first += len(layer)
    return x, y


def _lines(
    ax: Axes,
    place: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
    columns: np.ndarray,
    label: str,
    style: dict[str, Any],
) -> None:
    from matplotlib.collections import LineCollection

    ends = np.stack([np.stack([each[rows], each[columns]], 1) for each in place], 2)
    if len(ends):
        ax.add_collection(LineCollection(list(ends), label=label, rasterized=len(ends) > 5000, **style))


def _units(ax: Axes, swept: Swept, x: np.ndarray, y: np.ndarray) -> None:
    found = swept.liveness
    signal, reaches = found.signal, found.reaches
    constant = found.nonzero & ~signal & reaches
    states = {
        "alive": signal & reaches, "constant": constant, "starved": ~signal & reaches & ~constant,
        "stranded": signal & ~reaches, "both": ~signal & ~reaches,
    }  # fmt: skip
    widest = max(np.bincount(x.astype(int)))
    size = float(np.clip(2200 / max(1, widest) ** 1.15, 0.6, 26))
    for state, flags in states.items():
        if flags.any():
            marker, colour = STATES[state]
            edge: dict[str, Any] = {"edgecolors": "white" if state == "alive" else colour, "linewidths": 0.3}
            ax.scatter(x[flags], y[flags], s=size * (1 if state == "alive" else 0.8), marker=marker, color=colour, zorder=3,
                       label=f"{LABELS.get(state, state)} ({int(flags.sum()):,})", **edge)  # fmt: skip


def _names(ax: Axes, graph: LayeredGraph, x: np.ndarray) -> None:
    from matplotlib.collections import PathCollection

    names: dict[int, list[str]] = {}
    for layer in filter(len, graph.layers):
        names.setdefault(int(x[layer.start]), []).append(f"{layer.name}\n{len(layer):,}")
    texts = [held[0] if len(held) == 1 else f"{held[0]}\n+ {len(held) - 1}" for held in names.values()]
    if len(texts) > CROWDED:
        every = -(-len(texts) // (3 * CROWDED))
        texts = [text.partition("\n")[0] if number % every == 0 else "" for number, text in enumerate(texts)]
    turned: dict[str, Any] = {"rotation": 90, "fontsize": 6} if len(texts) > CROWDED else {"fontsize": 8}
    ax.set_xticks(list(names), texts, parse_math=False, **turned)
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.margins(0.04)
    made = ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    for handle in made.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([22])

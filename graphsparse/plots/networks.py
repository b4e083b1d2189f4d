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
    "no way from a source": ("v", DEAD),
    "no way to a sink": ("^", DEAD),
    "neither": (".", LIGHT),
}
"""Marker and colour of units by what they are; no way from a source and none to a sink is "neither"."""


def network(graph: LayeredGraph, *, most: int = MOST, ax: Axes | None = None) -> Axes:
    """Draw every unit and every kept edge: active connections in blue, dead ones in orange, wires in grey.

    Layers stand from left to right by rank. Units say by their marker whether they are alive, constant, or what they lack.

    Args:
        graph: as `graphsparse.export` gives it.
        most: the most edges that are drawn.

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
    numbers = _numbers(graph, edges.row, edges.col)
    here = np.isin(numbers, _numbers(graph, alive.row, alive.col))
    wire = ~np.isin(numbers, _connections(graph))
    ax = axes(ax, (6.4, 4.2))
    from matplotlib.collections import LineCollection

    for label, use, colour in (
        ("wire", wire, FAINT), ("kept, dead", ~wire & ~here, KEPT), ("active", ~wire & here, ACTIVE),
    ):  # fmt: skip
        width = float(np.clip(25 / max(1, np.sqrt(use.sum())), 0.2, 1.2))
        style: dict[str, Any] = {"color": colour, "linewidth": width, "alpha": 0.8, "zorder": 1 + (label == "active")}
        if use.any():
            ends = np.stack([np.stack([each[edges.row[use]], each[edges.col[use]]], 1) for each in (x, y)], 2)
            named = f"{label} ({int(use.sum()):,})"
            ax.add_collection(LineCollection(list(ends), label=named, rasterized=len(ends) > 5000, **style))
    _units(ax, swept, x, y)
    _names(ax, graph, x)
    return ax


def _numbers(graph: LayeredGraph, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """One number for each pair of units."""
    return rows.astype(np.int64) * graph.n_units + columns


def _connections(graph: LayeredGraph) -> np.ndarray:
    """The numbers of the pairs that kept connections join; all other edges are wires and products."""
    pairs = [block.pairs(graph.kept)[:2] for blocks in graph.kernels.values() for block in blocks]
    return np.concatenate([np.empty(0, np.int64), *(_numbers(graph, *ends) for ends in pairs)])


def _places(graph: LayeredGraph) -> tuple[np.ndarray, np.ndarray]:
    """Where each unit stands: layers of one rank below each other, units evenly within their layer's share."""
    x, y = np.empty(graph.n_units), np.empty(graph.n_units)
    by_rank: dict[int, list[Layer]] = {}
    for layer in filter(len, graph.layers):
        by_rank.setdefault(layer.rank, []).append(layer)
    totals = {rank: sum(map(len, layers)) for rank, layers in by_rank.items()}
    for place, (rank, layers) in enumerate(sorted(by_rank.items())):
        total, first = totals[rank], 0
        tall = 0.35 + 0.65 * total / max(totals.values())
        for layer in layers:
            within = first + np.arange(len(layer)) + 0.5
            x[layer.start : layer.stop] = place
            y[layer.start : layer.stop] = 0.5 + tall * (0.5 - within / total)
            first += len(layer)
    return x, y


def _units(ax: Axes, swept: Swept, x: np.ndarray, y: np.ndarray) -> None:
    found = swept.liveness
    signal, reaches = found.signal, found.reaches
    constant = found.nonzero & ~signal & reaches
    states = signal & reaches, constant, ~signal & reaches & ~constant, signal & ~reaches, ~signal & ~reaches
    widest = max(np.bincount(x.astype(int)))
    size = float(np.clip(2200 / max(1, widest) ** 1.15, 0.6, 26))
    for (state, (marker, colour)), flags in zip(STATES.items(), states, strict=True):
        if flags.any():
            alive = state == "alive"
            ax.scatter(
                x[flags], y[flags], s=size * (1 if alive else 0.8), marker=marker, color=colour, zorder=3, linewidths=0.3,
                edgecolors="white" if alive else colour, label=f"{state} ({int(flags.sum()):,})",
            )  # fmt: skip


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

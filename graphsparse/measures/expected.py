"""How many connections random masks leave active on average: a closed form, and a simulation to hold against it.

With independent masks of density d on a fully connected chain a unit is reached with probability
alpha_l = 1 - (1 - d_l alpha_{l-1})^n_{l-1}, it reaches an output with probability
beta_{l-1} = 1 - (1 - d_l beta_l)^n_l, and n_{l-1} n_l d_l alpha_{l-1} beta_l connections of layer l are active. That is
exact up to three weight layers; in deeper chains units that share ancestors are not independent: a mean field.

A convolution is the same chain over channels. The positions of a channel share taps, so they live or die almost
together: the unit of the mean field is the channel, and one or more kept taps join two channels. A fully connected layer
behind a flattening joins a channel to a unit by one tap per position. On small maps this fails at borders, where a tap
shifts a channel partly out of sight. If it is known which positions a tap reads, a channel carries the probability that
it is alive, and for each position the probability that it is alive there, given that; these are taken as independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from graphsparse.blocks import KernelBlock
from graphsparse.errors import GraphsparseError
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.layout import Taps, View
from graphsparse.layers import Layer
from graphsparse.measures.batch import WORD, sparsity_of

Reads = Sequence[np.ndarray]
Sizes = tuple[int, int, int]


class Alive(NamedTuple):
    """How likely a channel is alive at all, and at each of its positions, given that it is."""

    channel: float
    position: np.ndarray


def expected_effective(
    shapes: Sequence[int] | Sequence[Sequence[int]], densities: Sequence[float], reads: Reads | None = None
) -> float:
    """Expected number of active connections of a chain of kernels under independent random masks.

    Args:
        shapes: the widths n_0, ..., n_L of a fully connected chain, or kernel shapes as torch has them, (out, in) and
            ``(out, in, *kernel)``, each layer reading the one before it. A fully connected kernel that reads k inputs for
            each channel before it stands behind a flattening of k positions.
        densities: one for each kernel, in [0, 1]: 1 - the layer sparsities of `quotas`.
        reads: which positions each tap reads, see `spatial_reads`. Without them every position of a live channel counts
            as live (the channel resolution); with them the value is for the unrolled resolution.

    Returns:
        The mean, exact for fully connected chains of up to three kernels, mean-field otherwise.

    Source: Vysogorets and Kempe 2023 define the quantity; the closed form is this project's.

    Example:
        >>> round(expected_effective([784, 300, 100, 10], [0.01, 0.01, 0.01]), 1)
        252.8
    """
    layers = chain_of(shapes)
    tables = list(reads) if reads is not None else [np.zeros((taps, 1, 1), np.int64) for _, _, taps in layers]
    if not len(layers) == len(densities) == len(tables):
        received = f"{len(layers)} kernels, {len(densities)} densities, {len(tables)} tables of reads"
        raise GraphsparseError("each kernel must have one density and one table of reads", received=received)
    if not all(0.0 <= density <= 1.0 for density in densities):
        raise GraphsparseError("a density must lie between 0 and 1", received=list(densities))
    reached = [Alive(1.0, np.ones(int(tables[0].max()) + 1))]
    for (inputs, _, _), density, table in zip(layers, densities, tables):
        reached.append(_next(reached[-1].channel, _read(reached[-1].position, table), density, inputs))
    reaching = [Alive(1.0, np.ones(reached[-1].position.size))]
    for (_, outputs, _), density, table, alive in zip(layers[::-1], densities[::-1], tables[::-1], reached[-2::-1]):
        seen = _read_by(reaching[-1].position, table, alive.position.size)
        reaching.append(_next(reaching[-1].channel, seen, density, outputs))
    ends = zip(layers, densities, tables, reached, reaching[-2::-1])
    return float(sum(n * m * density * _both(alive, back, table) for (n, m, _), density, table, alive, back in ends))


def chain_of(shapes: Sequence[int] | Sequence[Sequence[int]]) -> list[Sizes]:
    """Widths or kernel shapes as (channels in, channels out, taps between a pair of them), one for each kernel."""
    kernels: list[Any] = list(shapes)
    if all(isinstance(width, (int, np.integer)) for width in kernels):
        kernels = [(wide, before) for before, wide in pairwise(kernels)]
    layers: list[Sizes] = []
    for shape in kernels:
        out, inputs, *kernel = map(int, shape)
        before = layers[-1][1] if layers else inputs
        if inputs % before or (kernel and inputs != before):
            raise GraphsparseError(
                "each layer of a chain must read the one before", place=f"kernel {len(layers)}", received=tuple(shape)
            )
        layers.append((before, out, inputs // before * math.prod(kernel)))
    return layers


def spatial_reads(
    shapes: Sequence[Sequence[int]],
    size: Sequence[int],
    *,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
    pool: int | Sequence[int] = 1,
) -> list[np.ndarray]:
    """Which positions of the layer before each tap reads, for a chain of convolutions and then fully connected layers.

    Args:
        shapes: kernel shapes.
        size: extents of one input channel, (height, width) for images.
        padding, stride: of each convolution, the same on every axis; one number for all of them, or one for each.
        pool: the window of the pooling behind each convolution, with the window as its stride; 1 for none.

    Returns:
        For each kernel integers (taps, positions of its output, positions pooled into one), -1 for zero padding.

    Example:
        >>> spatial_reads([(1, 1, 3)], (2,), padding=1)[0][:, :, 0]
        array([[-1,  0],
               [ 0,  1],
               [ 1, -1]])
    """
    convolutions = sum(len(shape) > 2 for shape in shapes)
    settings = zip(*(_each(value, convolutions) for value in (padding, stride, pool)))
    tables: list[np.ndarray] = []
    places = np.arange(math.prod(size)).reshape(*size, 1)
    for layer, shape in enumerate(shapes):
        if len(shape) == 2:
            places = places.reshape(-1, places.shape[-1])
            tables.append(places[:, None] if layer else np.zeros((1, 1, 1), np.int64))
            places = np.zeros((1, 1), np.int64)
            continue
        pad, step, window = next(settings)
        tables.append(_windows(places, shape[2:], pad, step))
        outer = [(extent + 2 * pad - kernel) // step + 1 for extent, kernel in zip(places.shape, shape[2:])]
        places = _pooled(np.arange(math.prod(outer)).reshape(outer), window)
    return tables


def simulate_effective(
    widths: Sequence[int], densities: Sequence[float], draws: int, seed: int = 0, *, fixed: bool = False
) -> np.ndarray:
    """Active connections in `draws` draws of independent random masks on a fully connected chain.

    Each connection of layer l is kept with probability ``densities[l]``; with `fixed`, as many are kept as a quota
    gives, the density times the layer's size, rounded. Returns an integer array (draws,), whose mean estimates
    `expected_effective`. The same seed gives the same draws.

    Example:
        >>> active = simulate_effective([784, 300, 100, 10], [0.01] * 3, draws=200, seed=1)
        >>> bool(abs(active.mean() - 252.8) < 4 * active.std() / 200**0.5)
        True
    """
    rng, graph, counts = np.random.default_rng(seed), _chain_graph(widths), []
    for first in range(0, draws, WORD):
        words = {name: np.zeros((1, *shape), np.uint64) for name, shape in graph.shapes.items()}
        for bit in range(min(WORD, draws - first)):
            for kept, density in zip(words.values(), densities, strict=True):
                kept.reshape(-1)[_edges(rng, kept.size, density, fixed)] |= np.uint64(1) << np.uint64(bit)
        counts.append(sparsity_of(graph, words).active.sum(1))
    return np.concatenate(counts)[:draws] if counts else np.zeros(0, np.int64)


def _edges(rng: np.random.Generator, size: int, density: float, fixed: bool) -> np.ndarray:
    count = round(size * density) if fixed else rng.binomial(size, density)
    return rng.choice(size, count, replace=False, shuffle=False)


def _chain_graph(widths: Sequence[int]) -> LayeredGraph:
    """The graph of a fully connected chain, kernels (out, in)."""
    ends = np.cumsum([0, *widths]).astype(np.int32)
    ids = [np.arange(start, stop, dtype=np.int32)[None, :, None] for start, stop in pairwise(ends)]
    shapes = {str(place): (out, into) for place, (into, out) in enumerate(pairwise(widths))}
    one = Taps.of(np.zeros((1, 1)), 1)
    layers = [Layer("input", "input", 0, int(ends[1]), 0)]
    for place, (name, (out, into)) in enumerate(shapes.items()):
        view = View(0, (1, out, into), (out * into, into, 1))
        block = KernelBlock(name, view, ids[place], ids[place + 1], one, name)
        layers.append(Layer(name, "linear", int(ends[place + 1]), int(ends[place + 2]), place + 1, (block,)))
    return LayeredGraph(tuple(layers), ids[0].ravel(), ids[-1].ravel(), shapes)


def _next(channel: float, seen: np.ndarray, density: float, channels: int) -> Alive:
    """A layer's channels from those of the one before.

    `seen` (taps, positions): that a tap sees a live position of a channel, given that the channel is alive. A position
    is alive if some tap of some channel is kept and sees one there; the channel, if one is kept that sees one anywhere.
    """
    position = 1.0 - (1.0 - channel * (1.0 - np.prod(1.0 - density * seen, axis=0))) ** channels
    anywhere = 1.0 - np.prod(1.0 - seen, axis=1)
    whole = 1.0 - (1.0 - channel * (1.0 - np.prod(1.0 - density * anywhere))) ** channels
    return Alive(whole, np.minimum(1.0, position / whole) if whole > 0 else position)


def _both(alive: Alive, back: Alive, table: np.ndarray) -> float:
    """Expected number, over the taps between two channels, of those with both ends alive at some position."""
    ends = _read(alive.position, table) * back.position
    return alive.channel * back.channel * float((1.0 - np.prod(1.0 - ends, axis=1)).sum())


def _read(position: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Probability (taps, output positions) that a tap sees a live position of a live channel."""
    return 1.0 - np.prod(1.0 - np.append(position, 0.0)[table], axis=-1)


def _read_by(back: np.ndarray, table: np.ndarray, size: int) -> np.ndarray:
    """Probability (taps, input positions) that a tap joins the position to a live output position of a live channel."""
    dead = np.ones((table.shape[0], size + 1))
    taps = np.arange(table.shape[0]).reshape(-1, 1, 1)
    np.multiply.at(dead, (np.broadcast_to(taps, table.shape), table), np.broadcast_to(1.0 - back[:, None], table.shape))
    return 1.0 - dead[:, :-1]


def _windows(places: np.ndarray, kernel: Sequence[int], pad: int, step: int) -> np.ndarray:
    """(taps, windows, pooled positions) of a convolution over places (*size, pooled positions)."""
    axes = len(kernel)
    padded = np.pad(places, [(pad, pad)] * axes + [(0, 0)], constant_values=-1)
    views = np.lib.stride_tricks.sliding_window_view(padded, tuple(kernel), axis=tuple(range(axes)))
    views = views[(slice(None, None, step),) * axes]
    order = [*range(axes + 1, 2 * axes + 1), *range(axes), axes]
    return np.ascontiguousarray(views.transpose(order)).reshape(math.prod(kernel), -1, places.shape[-1])


def _pooled(places: np.ndarray, window: int) -> np.ndarray:
    """Positions (*size) grouped by pooling windows, (*smaller size, positions in one); a rest at the end is cut off."""
    found = _windows(places[..., None], (window,) * places.ndim, 0, window)
    return found[:, :, 0].T.reshape(*(extent // window for extent in places.shape), -1)


def _each(value: int | Sequence[int], count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else list(value)

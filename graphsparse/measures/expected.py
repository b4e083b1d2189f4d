"""How many connections random masks leave active on average: a closed form, and a simulation to hold against it.

With independent masks of density d on a fully connected chain a unit is reached with probability
alpha_l = 1 - (1 - d_l alpha_{l-1})^n_{l-1} and reaches an output with probability beta_{l-1} = 1 - (1 - d_l beta_l)^n_l,
and n_{l-1} n_l d_l alpha_{l-1} beta_l connections of layer l are active. That is exact up to three weight layers; in
deeper chains units that share ancestors are not independent, and it is a mean-field value.

A convolution is the same chain over channels: all positions of a channel live or die almost together, because they
share taps, so the unit of the mean field is the channel, and what joins two channels is one or more of T kept taps. A
fully connected layer behind a flattening joins a channel to a unit by as many taps as there are positions. Borders break
this rule on small maps, where a single tap shifts a channel partly out of sight. Given which positions a tap reads, each
position has a probability of its own, and the positions of one channel are taken as nested: the more probable one lives
wherever the less probable one does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphsparse.errors import GraphsparseError

Reads = Sequence[np.ndarray]


def expected_effective(shapes: Sequence[int] | Sequence[Sequence[int]], densities: Sequence[float], reads: Reads | None = None) -> float:
    """Expected number of active connections of a chain of kernels under independent random masks.

    Args:
        shapes: the widths n_0, ..., n_L of a fully connected chain, or kernel shapes as torch has them, (out, in) and
            (out, in, *kernel), each layer reading the one before it. A fully connected kernel that reads k inputs for
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
    layers = _layers(shapes, densities)
    tables = list(reads) if reads is not None else [np.arange(taps).reshape(taps, 1, 1) * 0 for _, _, taps in layers]
    if len(tables) != len(layers):
        raise GraphsparseError("there is one table of reads for each kernel", received=f"{len(tables)} for {len(layers)}")
    return sum(expected_by_layer(layers, densities, tables))


def expected_by_layer(layers: Sequence[tuple[int, int, int]], densities: Sequence[float], reads: Reads) -> list[float]:
    """Expected active connections of each kernel, given as (channels in, channels out, taps)."""
    reached = [np.ones(_positions(reads[0]))]
    for (channels, _, _), density, table, following in zip(layers, densities, reads, [*reads[1:], None]):
        joined = _joined(_best(reached[-1], table).T, density)
        reached.append(_fit(1.0 - (1.0 - joined) ** channels, following))
    reaching = [np.ones(reads[-1].shape[1])]
    for (_, channels, _), density, table, alive in zip(layers[::-1], densities[::-1], reads[::-1], reached[-2::-1]):
        joined = _joined(_reaching_back(reaching[-1], table, alive.size), density)
        reaching.append(1.0 - (1.0 - joined) ** channels)
    reaching = [_fit(back, None, size) for back, size in zip(reaching[::-1][1:], [table.shape[1] for table in reads])]
    return [
        inputs * outputs * density * float(_overlap(_best(alive, table), back).sum())
        for (inputs, outputs, _), density, table, alive, back in zip(layers, densities, reads, reached, reaching)
    ]

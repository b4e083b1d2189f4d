"""The whole graph as one csr matrix, written in place: a count pass and a fill pass, channel by channel.

A channel's rows stay in the cache while its kept taps are written, so the cost is that of writing the indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphsparse.algebras import Ids
from graphsparse.blocks import Block, Gate, KernelBlock
from graphsparse.kernels.compiling import compiled
from graphsparse.kernels.masks import Mask
from graphsparse.layers import Layer

if TYPE_CHECKING:
    from scipy import sparse


def build(layers: Sequence[Layer], kept: Mapping[str, Mask], cut: np.ndarray) -> sparse.csr_array:
    """Bool csr (n_units, n_units): entry [u, v] where u feeds v by a kept connection, a wire or a product.

    Parallel connections (the taps of a kernel in channel resolution) are one entry; no edge leads through the units
    ``cut``.
    """
    from scipy import sparse  # takes a tenth of a second to import, and no sweep needs it

    n_units = layers[-1].stop if layers else 0
    blocks = [block for layer in layers for block in layer.blocks]
    parts = [_Part.of(block, kept) for block in blocks]
    starts = np.zeros(n_units + 1, np.int64)
    for part in parts:
        _count(part.bounds, part.sources, part.table, starts[1:])
    np.cumsum(starts, out=starts)
    small = starts[-1] <= np.iinfo(np.int32).max
    indices = np.empty(starts[-1], np.int32 if small else np.int64)
    free = starts[:-1].copy()
    for part in parts:
        _fill(*part, free, indices)
    starts = starts.astype(indices.dtype)
    matrix = sparse.csr_array((np.ones(len(indices), bool), indices, starts), (n_units, n_units))
    return _tidy(matrix, cut, blocks)


def bool_csr(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """A csr of bool where several entries at one place are one: counts would wrap, bool cannot."""
    from scipy import sparse

    matrix = sparse.coo_array((np.ones(len(rows), bool), (rows, columns)), shape).tocsr()
    matrix.sum_duplicates()
    return matrix


def _tidy(matrix: sparse.csr_array, cut: np.ndarray, blocks: list[Block]) -> sparse.csr_array:
    if any(_may_repeat(block) for block in blocks):
        matrix.sum_duplicates()
    if len(cut):
        matrix = matrix.tocoo()
        through = ~np.isin(matrix.row, cut) & ~np.isin(matrix.col, cut)
        return bool_csr(matrix.row[through], matrix.col[through], matrix.shape)
    return matrix


def _may_repeat(block: Block) -> bool:
    """Whether a block may join one pair of units twice."""
    if isinstance(block, Gate):
        return True
    if not isinstance(block, KernelBlock):
        return False
    if block.taps.positions == 1 and len(block.taps.table) > 1:
        return True
    real = block.sources[block.sources >= 0]
    return len(real) > 0 and int(np.bincount(real - real.min()).max()) > 1


class _Part(NamedTuple):
    """A block's edges: a source unit of column j feeds, by tap, the targets of its ``rows[bounds[j] : bounds[j + 1]]``.

    ``sources`` (channels of all groups, size); ``table`` (taps, positions); ``targets`` (groups, rows, positions).
    """

    bounds: np.ndarray
    rows: np.ndarray
    sources: np.ndarray
    table: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, block: Block, kept: Mapping[str, Mask]) -> _Part:
        """The edges of a block; a wire is a column of one row."""
        if not isinstance(block, KernelBlock):
            sources, targets, _ = block.pairs(kept)
            own, one = np.arange(len(sources) + 1), np.zeros((1, 1), np.int32)
            return cls(own, own[:-1], sources[:, None], one, targets[None, :, None])
        kernel = block.view.of(kept[block.mask].unpack().reshape(-1))
        groups, rows, per_group = kernel.shape
        columns, row = np.nonzero(kernel.transpose(0, 2, 1).reshape(groups * per_group, rows))
        bounds = np.searchsorted(columns, np.arange(groups * per_group + 1))
        sources = block.sources.reshape(prod(block.sources.shape[:2]), block.sources.shape[2])
        return cls(bounds, row, sources, block.taps.table, block.targets)


@compiled
def _count(bounds: Ids, sources: Ids, table: Ids, counts: Ids) -> None:
    """Add the edges of each source unit."""
    taps = table.shape[0]
    for j in range(bounds.size - 1):
        kept = bounds[j + 1] - bounds[j]
        if kept == 0:
            continue
        for p in range(table.shape[1]):
            q = table[j % taps, p]
            if q >= 0 and sources[j // taps, q] >= 0:
                counts[sources[j // taps, q]] += kept


@compiled
def _fill(bounds: Ids, rows: Ids, sources: Ids, table: Ids, targets: Ids, free: Ids, indices: Ids) -> None:
    """Write the targets of each source unit from its free place on."""
    taps, per_group = table.shape[0], (bounds.size - 1) // max(targets.shape[0], 1)
    for j in range(bounds.size - 1):
        channel, tap, group = j // taps, table[j % taps], j // per_group
        for e in range(bounds[j], bounds[j + 1]):
            out = targets[group, rows[e]]
            for p in range(tap.size):
                if tap[p] >= 0:
                    unit = sources[channel, tap[p]]
                    if unit >= 0:
                        indices[free[unit]] = out[p]
                        free[unit] += 1

"""The direct and the effective count at every threshold: two sorts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse.graph import LayeredGraph
from graphsparse.kernels.selection import count_falling
from graphsparse.kernels.threads import each
from graphsparse.passes.scores import under_masks
from graphsparse.sweep import sweep

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class CompressionCurve:
    """Direct against effective compression, at every threshold of a ranking.

    ``thresholds`` fall, one per different score; ``kept`` and ``active`` (same length) count the connections that score
    at least that, and those of them that are active. ``connections`` is how many there are.
    """

    thresholds: np.ndarray
    kept: np.ndarray
    active: np.ndarray
    connections: int

    @property
    def frame(self) -> pandas.DataFrame:
        """A row per threshold, with the columns threshold, kept, active, direct and effective compression."""
        import pandas  # takes a quarter of a second to import

        with np.errstate(divide="ignore"):
            direct, effective = self.connections / self.kept, self.connections / self.active
        columns = {"threshold": self.thresholds, "kept": self.kept, "active": self.active}
        return pandas.DataFrame({**columns, "direct_compression": direct, "effective_compression": effective})

    def __repr__(self) -> str:
        return f"CompressionCurve({len(self.thresholds):,} thresholds, {self.connections:,} connections)"

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the frame."""
        self.frame.to_csv(path, index=False)


def compression_curve(graph: LayeredGraph, ranking: Mapping[str, Any]) -> CompressionCurve:
    """Direct and effective counts at every threshold of a ranking: two sorts and one sweep.

    Kernels without scores count as kept throughout; connections that the masks drop, or whose score is minus infinity,
    never count. Memory is linear in the number of connections.

    Args:
        graph, ranking: as for `graphsparse.effective_scores`.

    Returns:
        A curve: arrays ``.thresholds``, ``.kept`` and ``.active`` with an entry per different score, thresholds falling;
        ``.frame`` has them with both compressions.

    Raises:
        MaskError: a score is NaN, or its shape or name does not fit.

    Example:
        >>> import torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(2, 1, bias=False), torch.zeros(1, 2), {})
        >>> gs.compression_curve(graph, {"weight": [[0.5, 2.0]]}).kept.tolist()
        [1, 2]
    """
    algebra, direct = under_masks(graph, ranking)
    effective = sweep(graph, direct, algebra).connections()
    both = [[array.ravel() for array in scores.values()] for scores in (direct, effective)]
    every, some = each(_ascending, both, 2 * graph.n_connections * algebra.dtype.itemsize)
    counts = np.int32 if graph.n_connections < 2**31 else np.int64
    thresholds, kept, active = np.empty_like(every), np.empty(len(every), counts), np.empty(len(every), counts)
    n = count_falling(every, some, thresholds, kept, active)
    return CompressionCurve(thresholds[:n], kept[:n], active[:n], graph.n_connections)


def _ascending(arrays: list[np.ndarray]) -> np.ndarray:
    """All values above minus infinity, sorted."""
    flat = np.concatenate(arrays) if arrays else np.empty(0, np.float32)
    flat.sort()
    return flat[np.searchsorted(flat, -np.inf, "right") :]

"""The direct and the effective count at every threshold: two sorts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas

from graphsparse.graph import LayeredGraph
from graphsparse.passes.scores import effective_scores


@dataclass(frozen=True, eq=False)
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
        """A row per threshold: threshold, kept, active, direct and effective compression."""
        with np.errstate(divide="ignore"):
            direct, effective = self.connections / self.kept, self.connections / self.active
        columns = {"threshold": self.thresholds, "kept": self.kept, "active": self.active}
        return pandas.DataFrame({**columns, "direct_compression": direct, "effective_compression": effective})

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the frame."""
        self.frame.to_csv(path, index=False)


def compression_curve(graph: LayeredGraph, scores: Mapping[str, np.ndarray]) -> CompressionCurve:
    """Counts at every threshold of a ranking, in memory linear in the number of connections.

    Kernels without scores count as kept throughout; connections that the masks drop never count. Scores as for
    `graphsparse.effective_scores`.
    """
    effective = _flat(effective_scores(graph, scores))
    direct = _flat(
        {
            name: np.asarray(scores[name]) if name in scores else np.full(shape, np.inf)
            for name, shape in graph.shapes.items()
        }
    )
    kept = np.concatenate([np.asarray(graph.values[name]).ravel() for name in graph.shapes]).astype(bool)
    direct = np.sort(direct.astype(effective.dtype, copy=False)[kept])
    effective = np.sort(effective[effective > -np.inf])
    first = np.flatnonzero(np.r_[True, direct[1:] != direct[:-1]]) if len(direct) else np.empty(0, np.int64)
    thresholds = direct[first][::-1]
    active = len(effective) - np.searchsorted(effective, thresholds, "left")
    return CompressionCurve(thresholds, (len(direct) - first)[::-1], active, graph.n_connections)


def _flat(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays.values()])

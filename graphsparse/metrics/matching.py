"""Units of two networks matched layer by layer, and how far apart their connections are after that (NNSTD)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from graphsparse.blocks import Gate, KernelBlock
from graphsparse.graph import LayeredGraph
from graphsparse.metrics.encodings import encoded
from graphsparse.metrics.parts import Part

LARGEST = 5000  # rows of a kernel up to which they are matched: the assignment takes time with their cube
NONE = np.iinfo(np.int64).max  # above every number of a row


@dataclass(frozen=True, eq=False)
class Rows:
    """Whether a unit comes from one row of a kernel or from several, and which rows may change places.

    Rows are numbered over all parameters, a parameter's from ``first`` on. All masks of a network share this.
    """

    graph: LayeredGraph

    @cached_property
    def first(self) -> dict[str, int]:
        """The number of the first row of each parameter that is read in one way."""
        found, free = {}, 0
        for name, blocks in self.graph.kernels.items():
            if len({block.view for block in blocks}) == 1:
                found[name], free = free, free + blocks[0].targets.shape[0] * blocks[0].targets.shape[1]
        return found

    @cached_property
    def origins(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest number of the rows that each unit comes from over wires. Sources, and rows that are
        not matched, have numbers of their own, below zero."""
        n = self.graph.n_units
        low, high, own = np.full(n, NONE), np.full(n, -NONE), -1 - np.arange(n)
        low[self.graph.sources] = high[self.graph.sources] = own[self.graph.sources]
        for block in (block for layer in self.graph.layers for block in layer.blocks):
            if isinstance(block, KernelBlock):
                targets = block.targets.reshape(-1)
                least = most = self._numbers(block, own)
            else:
                sources, targets, _ = block.pairs({})
                least, most = low[sources], high[sources]
            real = targets >= 0
            np.minimum.at(low, targets[real], least[real])
            np.maximum.at(high, targets[real], most[real])
        return low, high

    def _numbers(self, block: KernelBlock, own: np.ndarray) -> np.ndarray:
        """The number of the row that makes each target of a kernel."""
        groups, rows, positions = block.targets.shape
        if block.parameter not in self.first:
            return own[block.targets.reshape(-1)]
        return np.repeat(self.first[block.parameter] + np.arange(groups * rows), positions)

    @cached_property
    def fixed(self) -> np.ndarray:
        """Which units keep their place: outputs, operands of products, what is read as a column of several rows; and all
        units that lead to those over wires."""
        found = np.zeros(self.graph.n_units, bool)
        found[self.graph.sinks] = True
        for name, blocks in self.graph.kernels.items():
            unmoved = self.of_columns(name) < 0 if name in self.first else slice(None)
            for kernel in blocks:
                units = kernel.sources.reshape(-1, kernel.sources.shape[2])[unmoved]
                found[units[units >= 0]] = True
        for block in (block for layer in reversed(self.graph.layers) for block in reversed(layer.blocks)):
            if not isinstance(block, KernelBlock):
                sources, targets, _ = block.pairs({})
                found[sources if isinstance(block, Gate) else sources[found[targets]]] = True
        return found

    def free(self, name: str) -> bool:
        """Whether a parameter's rows may change places in the same network: it is read in one way and makes no fixed unit."""
        units = [block.targets[block.targets >= 0] for block in self.graph.kernels[name]]
        return name in self.first and not any(self.fixed[each].any() for each in units)

    def of_columns(self, name: str) -> np.ndarray:
        """The number of the row that each input channel of a parameter comes from; below zero where there is not one."""
        low, high = self.origins
        low, high = np.append(low, [NONE, NONE]), np.append(high, [-NONE, -NONE])  # -1 and -2 are no units
        blocks = self.graph.kernels[name]
        least = np.min([low[block.sources].min(2).reshape(-1) for block in blocks], 0)
        most = np.max([high[block.sources].max(2).reshape(-1) for block in blocks], 0)
        return np.where((least == most) & (least >= 0), least, -1)


def distances(one: Part, other: Part, rows: Rows) -> dict[str, float]:
    """The topological distance of two masks of a network by parameter; NaN where there are too many rows to match.

    The distance of two rows is the share, of the connections that either has, of those that only one has. Rows that may
    change places are matched so that the mean is least, parameter by parameter in the network's order; columns follow the
    rows that they come from.
    """
    matched: dict[int, int] = {}
    found = {}
    for name in _in_order(rows.graph):
        first, second = (encoded(part, name, "rolled") for part in (one, other))
        if name in rows.first:
            second = second[_columns(rows, name, matched, second.shape[0])]
        n = first.shape[1]
        if not rows.free(name):
            found[name] = float(np.mean(_own_edits(first, second))) if n else 0.0
            continue
        if n > LARGEST:
            found[name] = np.nan
            continue
        cost = _edits(first, second)
        to = linear_sum_assignment(cost)[1]
        found[name] = float(cost[np.arange(n), to].mean()) if n else 0.0
        matched.update(zip((rows.first[name] + np.arange(n)).tolist(), (rows.first[name] + to).tolist(), strict=True))
    return found


def _in_order(graph: LayeredGraph) -> list[str]:
    """Parameters in the order of their first use."""
    used = [block.parameter for layer in graph.layers for block in layer.blocks if isinstance(block, KernelBlock)]
    return [*dict.fromkeys(used), *(name for name in graph.shapes if name not in used)]


def _columns(rows: Rows, name: str, matched: dict[int, int], size: int) -> np.ndarray:
    """The left nodes of the second network in the places of the first's: nodes of a row in those of the row's match."""
    origins = rows.of_columns(name)
    to = np.array([matched.get(origin, origin) for origin in origins.tolist()])
    result, count = np.arange(len(origins)), len(origins)
    moved = to != origins
    if moved.any():
        places = {row: np.flatnonzero(origins == row) for row in np.unique(origins[origins >= 0]).tolist()}
        for row, match in {(int(a), int(b)) for a, b in zip(origins[moved], to[moved], strict=True)}:
            if len(places[row]) == len(places.get(match, ())):
                result[places[row]] = places[match]
        if len(np.unique(result)) < count:  # some of a layer's rows are read here, and their matches are not
            result = np.arange(count)
    taps = size // count if count else 1
    return (result[:, None] * taps + np.arange(taps)).reshape(-1)


def _edits(first: sparse.csr_array, second: sparse.csr_array) -> np.ndarray:
    """The distance of each row of a kernel from each of another: 0 where both are empty."""
    both = (first.astype(np.float32).T @ second.astype(np.float32)).toarray()
    return _share(both, first.sum(0)[:, None] + second.sum(0)[None] - both)


def _own_edits(first: sparse.csr_array, second: sparse.csr_array) -> np.ndarray:
    """The distance of each row from the one in its place."""
    both = np.asarray((first.astype(np.float32).multiply(second.astype(np.float32))).sum(0)).reshape(-1)
    return _share(both, first.sum(0) + second.sum(0) - both)


def _share(both: np.ndarray, either: np.ndarray) -> np.ndarray:
    return np.where(either > 0, 1 - both / np.maximum(either, 1), 0.0)

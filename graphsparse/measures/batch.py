"""Direct and effective counts of many masks of one network at once, 64 masks in the bits of a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse.algebras import WORDS
from graphsparse.arrays import by_name
from graphsparse.errors import MaskError
from graphsparse.given_masks import disagreement, unknown_name
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.bit_sums import across
from graphsparse.kernels.many_masks import ManyMasks
from graphsparse.kernels.threads import each
from graphsparse.sweep import sweep

if TYPE_CHECKING:
    import pandas

WORD = 64
NEAR = 1 << 20  # bytes of words that are swept in one call, so that they stay in a near cache


@dataclass(frozen=True, eq=False)
class SparsityOfMany:
    """Counts by mask and parameter, int64 arrays (masks, parameters).

    ``kept``: how many connections each mask keeps; ``active``: how many of these are active. ``connections``
    (parameters,): how many there are.
    """

    parameters: tuple[str, ...]
    connections: np.ndarray
    kept: np.ndarray
    active: np.ndarray

    @property
    def direct(self) -> np.ndarray:
        """Direct sparsity of each mask, (masks,)."""
        return 1 - self.kept.sum(1) / self._total

    @property
    def effective(self) -> np.ndarray:
        """Effective sparsity of each mask, (masks,)."""
        return 1 - self.active.sum(1) / self._total

    @property
    def _total(self) -> int:
        return max(1, int(self.connections.sum()))

    @property
    def frame(self) -> pandas.DataFrame:
        """A row per mask and parameter, with the columns connections, kept and active."""
        import pandas  # takes a quarter of a second to import

        index = pandas.MultiIndex.from_product([range(len(self.kept)), self.parameters], names=["mask", "parameter"])
        columns = {"connections": np.tile(self.connections, len(self.kept))}
        columns.update(kept=self.kept.ravel(), active=self.active.ravel())
        return pandas.DataFrame(columns, index=index)

    def __repr__(self) -> str:
        return f"SparsityOfMany({len(self.kept)} masks, {len(self.parameters)} parameters)"


def sparsity_of(graph: LayeredGraph, masks: Mapping[str, Any]) -> SparsityOfMany:
    """Direct and effective counts of many masks of one network.

    ``masks``: by parameter, bool arrays or tensors (masks, \\*shape), or words, uint64 arrays (words, \\*shape) in which
    bit m of word w belongs to mask 64 w + m; all of one length. Parameters without masks keep what the graph's own
    masks keep, and biases and scales are those of the graph.

    Raises:
        MaskError: a name, shape or type does not fit, or the numbers of masks differ.

    Example:
        >>> import torch, graphsparse as gs
        >>> graph = gs.export(torch.nn.Linear(2, 1), torch.zeros(1, 2), {})
        >>> gs.sparsity_of(graph, {"weight": torch.tensor([[[True, False]], [[True, True]]])}).active.tolist()
        [[1], [2]]
    """
    stacked = _by_parameter(graph, by_name(masks, "masks"))
    counts = {name: len(array) * (WORD if array.dtype == np.uint64 else 1) for name, array in stacked.items()}
    if len(set(counts.values())) > 1:
        raise MaskError("every parameter must have the same number of masks", received=counts)
    total = next(iter(counts.values()), 1)
    words, size = -(-total // WORD), 8 * max(1, graph.n_connections, graph.n_units)
    step = max(1, NEAR // size)
    ranges = [slice(first, min(words, first + step)) for first in range(0, words, step)]
    found = each(lambda chosen: _of_words(graph, stacked, chosen), ranges, words * size)
    connections = np.array([prod(shape) for shape in graph.shapes.values()], np.int64)
    none = np.zeros((2, 0, len(graph.shapes)), np.int64)  # of no masks there are no counts to join
    kept, active = np.concatenate([none, *found], axis=1)[:, :total]
    return SparsityOfMany(tuple(graph.shapes), connections, kept, active)


def _by_parameter(graph: LayeredGraph, masks: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The masks by the graph's own names; those under two names of one parameter must agree."""
    stacked: dict[str, np.ndarray] = {}
    names: dict[str, str] = {}
    for given, array in masks.items():
        name, checked = graph.aliases.get(given, given), _checked(graph, given, array)
        if name in stacked and not np.array_equal(stacked[name], checked):
            raise disagreement(names[name], given)
        stacked[name], names[name] = checked, given
    return stacked


def _checked(graph: LayeredGraph, name: str, array: Any) -> np.ndarray:
    shape = graph.shapes.get(graph.aliases.get(name, name))
    if shape is None:
        raise unknown_name("masks must go by the graph's parameters", name, list(graph.shapes))
    array = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
    if array.shape[1:] != tuple(shape):
        raise MaskError(
            "masks must be stacked along the first axis", place=name, received=array.shape,
            way_out=f"give (masks, {', '.join(map(str, shape))})",
        )  # fmt: skip
    if array.dtype not in (np.dtype(bool), np.dtype(np.uint64)):
        raise MaskError("masks must be boolean, or words of uint64", place=name, received=array.dtype)
    return np.ascontiguousarray(array)


def _of_words(graph: LayeredGraph, stacked: Mapping[str, np.ndarray], chosen: slice) -> np.ndarray:
    """Kept and active counts (2, masks, parameters) of the masks of some words."""
    algebra = WORDS.of_many(chosen.stop - chosen.start)
    values = {name: _words(graph, name, stacked.get(name), chosen, algebra) for name in graph.shapes}
    found = sweep(graph, values, algebra)
    uses, origin = found.uses(), found.state.signal
    counts = [algebra.counts(values[name], uses[name], origin, found.reach).reshape(2, -1) for name in graph.shapes]
    return np.stack(counts, 2) if counts else np.zeros((2, WORD * (chosen.stop - chosen.start), 0), np.int64)


def _words(graph: LayeredGraph, name: str, masks: np.ndarray | None, chosen: slice, algebra: ManyMasks) -> np.ndarray:
    """The words of each connection of a parameter: which masks keep it."""
    if masks is None:
        return algebra.of_mask(graph.kept[name])
    if masks.dtype == np.uint64:
        return masks[chosen]
    parts = [masks[WORD * word : WORD * (word + 1)] for word in range(chosen.start, chosen.stop)]
    turned = [across(part.reshape(len(part), -1).view(np.uint8)) for part in parts]
    return np.stack(turned).reshape(len(turned), *masks.shape[1:])

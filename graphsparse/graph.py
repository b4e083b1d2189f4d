"""The sparse multipartite graph of a network: layers of units, and the blocks of edges between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from graphsparse import adjacency
from graphsparse.adjacency import bool_csr
from graphsparse.blocks import Block, Gate, KernelBlock, Scale
from graphsparse.captured import Coverage as Coverage
from graphsparse.captured import Input as Input
from graphsparse.errors import GraphsparseError
from graphsparse.given_masks import checked_masks
from graphsparse.kernels.masks import Mask
from graphsparse.layers import Layer, feeding

if TYPE_CHECKING:
    import igraph
    import networkx
    from scipy import sparse

_LIBRARIES = "graphsparse.exports.libraries"  # it sweeps, so it stands above the graph and is looked up when asked for


@dataclass(frozen=True, eq=False)
class Edge:
    """The connections and wires of one block between two layers; a skip connection climbs several ranks."""

    source: Layer
    target: Layer
    block: Block
    graph: LayeredGraph = field(repr=False)

    @property
    def parameter(self) -> str | None:
        """The name of the parameter whose entries the edge holds, or None for fixed wiring."""
        return getattr(self.block, "parameter", None)

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """Whether unit u of the source layer feeds unit v of the target layer by a kept connection or a wire.

        A bool `scipy.sparse.csr_array` (n_source_units, n_target_units), built when asked for.
        """
        from_ids, to_ids, _ = self.block.pairs(self.graph.kept)
        use = (from_ids >= self.source.start) & (from_ids < self.source.stop)
        use &= ~np.isin(from_ids, self.graph.cut) & ~np.isin(to_ids, self.graph.cut)
        rows, columns = from_ids[use] - self.source.start, to_ids[use] - self.target.start
        return bool_csr(rows, columns, (len(self.source), len(self.target)))

    def __repr__(self) -> str:
        return f"Edge({self.source.name!r} -> {self.target.name!r}, parameter={self.parameter!r})"


@dataclass(frozen=True, eq=False)
class Use:
    """A use of a parameter that keeps less of it than other uses do, by its own ``mask``; ``name`` is the model's for it."""

    parameter: str
    name: str
    mask: Mask = field(repr=False)


@dataclass(frozen=True, eq=False)
class LayeredGraph:
    """A network as a layered directed acyclic graph: units, kept weights between them, sources and sinks.

    ``layers``: every layer comes after those that feed it. ``sources`` and ``sinks``: unit ids. By parameter name:
    ``shapes`` of those that hold connections, ``masks`` as bits (without one, all is kept) and ``weights``, arrays that
    may share the model's memory. ``modulators``: masks of biases and scales, which are no connections; they hold where
    ``masks`` has none. ``uses``: uses of a shared parameter that the model masks further than others, by the key that
    their blocks name; a connection is kept if any use keeps it. ``constants``: shapes of parameters without connections
    that no sweep reads. ``positions``: in channel resolution, at how many positions of a sample each parameter's kernel
    is applied. ``inputs``: what each input of the model was taken for.

    No result is kept here. `with_masks` gives the same network under other masks.
    """

    layers: tuple[Layer, ...]
    sources: np.ndarray
    sinks: np.ndarray
    shapes: Mapping[str, tuple[int, ...]]
    masks: Mapping[str, Mask] = field(default_factory=dict, repr=False)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    modulators: Mapping[str, Mask] = field(default_factory=dict, repr=False)
    uses: Mapping[str, Use] = field(default_factory=dict, repr=False)
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    aliases: Mapping[str, str] = field(default_factory=dict, repr=False)
    unused: tuple[str, ...] = ()
    resolution: str = "unrolled"
    norm_statistics: bool = False
    has_norm_statistics: bool = False
    coverage: Coverage = field(default_factory=Coverage, repr=False)
    inputs: tuple[Input, ...] = ()
    positions: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def n_units(self) -> int:
        """The number of units of all layers."""
        return self.layers[-1].stop if self.layers else 0

    @property
    def n_connections(self) -> int:
        """The number of connections, which are the entries of prunable kernels; each parameter is counted once."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    @cached_property
    def kept(self) -> Mapping[str, Mask]:
        """The mask of every parameter that a block or a stage reads, by name, and of uses with one of their own, by key."""
        whole = {name: Mask.whole(shape) for name, shape in self.shapes.items() if name not in self.masks}
        kept = {**self.modulators, **self.masks, **whole}
        return {**kept, **{key: kept[use.parameter].both(use.mask) for key, use in self.uses.items()}}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the graph's numbers should know of its masks."""
        notes = []
        if self.uses:
            places = ", ".join(f"{use.parameter} (at {use.name})" for use in self.uses.values())
            notes.append(
                f"Some uses of a shared parameter are masked further than others: {places}. Each use is swept under its own "
                "mask; a connection is kept if any use keeps it."
            )
        names = [name for name, mask in self.masks.items() if name not in self.shapes and not mask.complete]
        if names:
            notes.append(
                f"Masked, but without connections, so not counted: {', '.join(names)}. What the masks drop there is zero."
            )
        return tuple(notes)

    @cached_property
    def kernels(self) -> Mapping[str, list[KernelBlock]]:
        """The blocks of each parameter that holds connections."""
        found: dict[str, list[KernelBlock]] = {name: [] for name in self.shapes}
        for block in (block for layer in self.layers for block in layer.blocks if isinstance(block, KernelBlock)):
            found[block.parameter].append(block)
        return found

    @cached_property
    def cut(self) -> np.ndarray:
        """The ids of units that a masked scale makes zero: no edge leads through them."""
        scales = [stage for layer in self.layers for stage in layer.stages if isinstance(stage, Scale)]
        return np.unique(np.concatenate([np.empty(0, np.int32), *(scale.cut(self.kept) for scale in scales)]))

    @cached_property
    def gated(self) -> bool:
        """Whether the graph has products, whose operands' zeros matter."""
        return any(isinstance(block, Gate) for layer in self.layers for block in layer.blocks)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The blocks between layers, in the order of their target layers; a block that reads two layers is two edges."""
        return tuple(
            Edge(self.layers[source], layer, block, self)
            for layer in self.layers
            for block in layer.blocks
            for source in feeding(block, self.owner)
        )

    @cached_property
    def owner(self) -> np.ndarray:
        """The index in ``layers`` of each unit's layer, (n_units,)."""
        return np.repeat(np.arange(len(self.layers)), [len(layer) for layer in self.layers])

    def layer_of(self, unit: int) -> Layer:
        """The layer that a unit id belongs to."""
        return self.layers[self.owner[unit]]

    def with_masks(self, masks: Mapping[str, Any]) -> LayeredGraph:
        """The same network under other masks, ``{parameter name: bool array or tensor}``; the captured layers are shared.

        Parameters without a mask are wholly kept. Raises `MaskError` where a name, shape or type does not fit.

        Example:
            >>> import torch, graphsparse as gs
            >>> graph = gs.export(torch.nn.Linear(3, 2), torch.zeros(1, 3), {})
            >>> gs.sparsity(graph.with_masks({"weight": torch.eye(2, 3) > 0})).kept
            2
        """
        return replace(self, masks=self.checked(masks))

    def checked(self, masks: Mapping[str, Any]) -> dict[str, Mask]:
        """Masks under the graph's own names, as bits. Raises `MaskError` where one does not fit."""
        shapes = {**self.constants, **{name: kept.shape for name, kept in self.modulators.items()}, **self.shapes}
        return checked_masks(masks, shapes, self.aliases, self.unused, known=tuple(self.shapes))

    def adjacency(self) -> sparse.csr_array:
        """Which unit feeds which: bool csr (n_units, n_units), entry [u, v] for u -> v, units numbered as in layers."""
        return adjacency.build(self.layers, self.kept, self.cut)

    def to_networkx(self) -> networkx.DiGraph:
        """A `networkx.DiGraph`. Nodes have "layer" (the rank), "name" (the layer's) and "active" (whether the unit lies on a
        path from a source to a sink); edges have "weight", "parameter" and "active".

        Example:
            >>> import networkx, torch, graphsparse as gs
            >>> graph = gs.export(torch.nn.Linear(3, 2), torch.zeros(1, 3), {})
            >>> sorted(networkx.multipartite_layout(graph.to_networkx(), subset_key="layer"))
            [0, 1, 2, 3, 4]
        """
        return import_module(_LIBRARIES).to_networkx(self)

    def to_igraph(self) -> igraph.Graph:
        """The same as a directed `igraph.Graph`, whose vertices have "part" for the name. Needs the extra ``igraph``."""
        return import_module(_LIBRARIES).to_igraph(self)

    def __repr__(self) -> str:
        return (
            f"LayeredGraph({len(self.layers)} layers, {self.n_units} units, {self.n_connections} connections, "
            f"{self.resolution})"
        )


def checked_graph(graph: Any) -> LayeredGraph:
    """The graph as it is, or an error that says how a model becomes one."""
    if isinstance(graph, LayeredGraph):
        return graph
    raise GraphsparseError(
        "a graph must be one that export gives", received=type(graph).__name__,
        way_out="graph = graphsparse.export(model, example_inputs)",
    )  # fmt: skip

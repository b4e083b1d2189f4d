"""One capture for many checkpoints of a network: the masks of each are put on the structure of the first."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import Network, export
from graphsparse.capture.inputs import names_of
from graphsparse.capture.network import Structure
from graphsparse.capture.parameters import unmasked
from graphsparse.checkpoints import WHOLE, Part
from graphsparse.errors import CheckpointError
from graphsparse.graph import LayeredGraph
from graphsparse.networks.loading import load_network
from graphsparse.networks.models import STATISTICS, needs_values


@dataclass(frozen=True, eq=False)
class Way:
    """How checkpoints are read, and as what: the arguments of `graphsparse.analyze` that all of them share."""

    resolution: str | None = None
    norm_statistics: bool = False
    sources: tuple[str, ...] | None = None
    form: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    part: Part = WHOLE
    trust_sizes: bool = False
    cache: bool = False

    @classmethod
    def of(
        cls, resolution: str | None, norm_statistics: bool, sources: str | Iterable[str] | None, form: str | None,
        model_args: Mapping[str, Any] | None, key: str | None, ignore: str | Iterable[str], prefix: str | None, trust_sizes: bool,
        cache: bool,
    ) -> Way:  # fmt: skip
        """Make it of the arguments as they are given."""
        part, arguments = Part.of(key, ignore, prefix), dict(model_args or {})
        return cls(resolution, norm_statistics, names_of(sources), form, arguments, part, trust_sizes, cache)


@dataclass(frozen=True, eq=False)
class Template:
    """A network that is captured, and how further checkpoints of it are read. It can be sent to other processes.

    ``base`` is the graph of the checkpoint that was captured. ``model`` is on the meta device where the graph depends on
    names and shapes alone. ``buffers`` are those whose values may decide the graph: a checkpoint with other values is
    captured on its own.
    """

    model: Any
    network: Network
    base: LayeredGraph
    structures: Mapping[tuple[Any, ...], Structure]
    way: Way
    buffers: Mapping[str, torch.Tensor]

    def graph_of(self, source: Any) -> tuple[LayeredGraph, tuple[str, ...]]:
        """The graph of another checkpoint under its own masks, and notes on what was taken for granted.

        Raises:
            CheckpointError, ModelError, MaskError: it is damaged, or no checkpoint of this network.
        """
        network = self._network_of(source)
        graph, base = _exported(network, self.way), self.base
        if graph.shapes != base.shapes or graph.n_units != base.n_units or tuple(graph.uses) != tuple(base.uses):
            raise CheckpointError(
                "checkpoints must be of one network", place=network.title,
                received="other parameters, or other uses of them", way_out="analyse it by itself",
            )  # fmt: skip
        return graph, network.notes

    def _network_of(self, source: Any) -> Network:
        """The network of another checkpoint. It takes over the structures of the first one where they are its own."""
        first = self.network
        model = self.model if first.is_meta or isinstance(self.model, str) else copy.deepcopy(self.model)
        found = replace(
            _loaded(source, model, self.way), inputs=first.inputs, kwargs=first.kwargs, resolution=first.resolution,
            channel_only=first.channel_only, batch_axis=first.batch_axis, extra_rules=first.extra_rules,
        )  # fmt: skip
        if first.is_meta or self.model is not None and _same(self.buffers, _buffers(found.model)):
            found.structures.update(self.structures)
        return found


def template(
    source: Any,
    model: Any = None,
    example_inputs: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    way: Way = Way(),
) -> Template:
    """Capture the network of one checkpoint, for all checkpoints of it. What is given is not changed.

    Args:
        source: the checkpoint. model, example_inputs, kwargs: as for `graphsparse.analyze`, or a network as the model.

    Raises:
        CheckpointError, ModelError, MaskError, CaptureError: bad input, with the way out.
    """
    given = model if isinstance(model, Network) else Network(model)
    model = without_values(given.model) if isinstance(given.model, nn.Module) else given.model
    network = _loaded(source, model, way, way.cache).built()  # other checkpoints may name tensors otherwise
    if given.has_inputs or given.extra_rules:
        network = replace(
            network, inputs=given.inputs, kwargs=given.kwargs, batch_axis=given.batch_axis, extra_rules=given.extra_rules
        )  # fmt: skip
    network = network.with_inputs(example_inputs, kwargs)
    way = replace(way, resolution=way.resolution or network.resolution)
    base = replace(_exported(network, way), weights={})
    model = network.model if network.is_meta else model
    buffers = {} if network.is_meta else _buffers(network.model)
    stand_in = network.model if network.is_meta else nn.Identity()  # its values are not sent to other processes
    first = replace(network, model=stand_in, masks={}, uses={}, weights={}, notes=(), rebuild=None, known=None)
    return Template(model, first, base, dict(network.structures), way, buffers)


def _exported(network: Network, way: Way) -> LayeredGraph:
    return export(network, resolution=way.resolution, norm_statistics=way.norm_statistics, sources=way.sources)


def _loaded(source: Any, model: Any, way: Way, cache: bool = False) -> Network:
    return load_network(
        source, model, form=way.form, arguments=way.model_args, weightless=True, part=way.part,
        trust_sizes=way.trust_sizes, cache=cache,
    )  # fmt: skip


def without_values(model: nn.Module) -> nn.Module:
    """A copy of a module: on the meta device where its graph depends on names and shapes alone, else with its values."""
    plain = unmasked(model).model
    if needs_values(plain):
        return copy.deepcopy(plain)
    empty = {id(each): torch.empty_like(each, device="meta", requires_grad=False) for each in plain.buffers()}
    for each in plain.parameters():
        empty[id(each)] = nn.Parameter(torch.empty_like(each, device="meta"), requires_grad=False)
    return copy.deepcopy(plain, empty)  # by identity, so that what is tied stays tied


def _buffers(model: Any) -> dict[str, torch.Tensor]:
    """Buffers that may decide what the graph is."""
    if isinstance(model, ExportedProgram):
        return {}
    return {name: each for name, each in model.named_buffers() if name.rpartition(".")[2] not in STATISTICS}


def _same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    same = (each.is_meta or torch.equal(each, other[name]) for name, each in one.items())
    return one.keys() == other.keys() and all(same)

"""A network: a model, the program that it was captured as, and what belongs to both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, Protocol

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.parameters import Parameters, separate, unmasked
from graphsparse.capture.samples import axis_of_samples
from graphsparse.capture.table import Apply, Rule
from graphsparse.capture.trace import as_arguments, require_module, settled, trace, with_examples
from graphsparse.capture.walk import told
from graphsparse.errors import ArgumentError, MaskError
from graphsparse.graph import LayeredGraph
from graphsparse.kernels.masks import Mask

Model = nn.Module | ExportedProgram
ROOM = "room of a graph"
"""Under this name a program from a file keeps how many units and links a graph of it may have, in ``meta``."""


@dataclass(frozen=True, eq=False)
class Structure:
    """What a program was read as: a graph without masks and weights, and which of its modulators are scales."""

    graph: LayeredGraph
    scales: frozenset[str]


class Kept(Protocol):
    """Structures that are kept from one run to the next, by the way in which a network was read."""

    def find(self, way: tuple[Any, ...]) -> Structure | None:
        """The structure, if it is kept."""

    def keep(self, way: tuple[Any, ...], structure: Structure) -> None:
        """Keep a structure."""


@dataclass(frozen=True, eq=False, repr=False)
class Network:
    """A model and what belongs to it. Whatever is done with it, the model is captured once, when that is first needed.

    What a live module holds is read whenever a graph is made: its weights, and the masks that it carries by then.

    Args:
        model: a module, or an exported program.
        inputs, kwargs: what the model's forward takes. None and nothing: they are not known.
        masks: those of the checkpoint that the network was read from, by parameter. They go before those of the model.
        uses: masks of the uses of a shared parameter that keep less of it than others, by their names.
        by_zeros: the names in ``masks`` whose masks are only the zeros of a weight.
        weights: the checkpoint's tensors as they are, also those that the model does not have; read when asked for.
        notes: what was taken for granted.
        title: what reports call it.
        resolution: the one to take where none is named.
        channel_only: positions are not known, so only the channel resolution means anything.
        rebuild: makes a model on the meta device again, and inputs for it by keyword; ``device="cpu"`` gives it memory.
        stand_in: whether the model has only the names and shapes of the one that ``rebuild`` makes when it is captured.
        known: the structures that this network was read as before, and where further ones are kept.
        batch_axis, extra_rules: as for `graphsparse.export`.
        room: how many units and links a graph of it may have; a program from a file brings what the file bears out.
    """

    model: Model
    inputs: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)
    uses: Mapping[str, Mask] = field(default_factory=dict)
    by_zeros: frozenset[str] = frozenset()
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    title: str = "network"
    resolution: str = "unrolled"
    channel_only: bool = False
    rebuild: Callable[..., tuple[nn.Module, dict[str, Any] | None]] | None = None
    stand_in: bool = False
    known: Kept | None = None
    batch_axis: int | None = 0
    extra_rules: Mapping[Any, Rule | Apply] = field(default_factory=dict)
    room: float = inf
    structures: dict[tuple[Any, ...], Structure] = field(default_factory=dict, init=False)
    """What the program was read as, for each way to read it."""
    _captured: dict[frozenset[str], tuple[ExportedProgram, Mapping[str, str]]] = field(default_factory=dict, init=False)

    @property
    def program(self) -> ExportedProgram:
        """The model as a functional program, in evaluation mode."""
        return self.captured(self.present()[2])[0]

    @property
    def parameters(self) -> Parameters:
        """The model's parameters as they are now."""
        return self.present()[0]

    @property
    def has_inputs(self) -> bool:
        """Whether it is known what the model's forward takes."""
        return self.inputs is not None or bool(self.kwargs)

    @cached_property
    def is_meta(self) -> bool:
        """Whether the model is on the meta device, without weights."""
        return any(tensor.is_meta for tensor in self.parameters.tensors.values())

    @cached_property
    def runnable(self) -> nn.Module:
        """A module that computes what the model does."""
        return self.model.module() if isinstance(self.model, ExportedProgram) else self.model

    @cached_property
    def samples_axis(self) -> int | None:
        """``batch_axis``; but where it is the first axis and samples along it are seen to influence each other, another or None."""
        if self.batch_axis != 0 or self.stand_in or isinstance(self.model, ExportedProgram):
            return self.batch_axis
        return axis_of_samples(unmasked(self.model).model, self.inputs or (), self.kwargs)

    @property
    def state(self) -> Mapping[str, torch.Tensor]:
        """Its tensors by name: the checkpoint's, else those of the model, without pruning reparametrisations."""
        if self.weights:
            return self.weights
        if isinstance(self.model, ExportedProgram):
            return self.model.state_dict
        return {name: tensor.detach() for name, tensor in unmasked(self.model).model.state_dict().items()}

    def with_inputs(self, example_inputs: Any, kwargs: Mapping[str, Any] | None = None) -> Network:
        """The same network for the given inputs, captured anew; itself where none are given."""
        if example_inputs is None and not kwargs:
            return self
        if isinstance(self.model, ExportedProgram):
            model = with_examples(self.model, example_inputs, kwargs)
            args, named = model.example_inputs
            return self if model is self.model else replace(self, model=model, inputs=args, kwargs=named)
        args, named = as_arguments(example_inputs, kwargs)
        return replace(self, inputs=args, kwargs=named, known=None)

    def built(self) -> Network:
        """The same network with the model itself, where one stands in for it."""
        if not self.stand_in or self.rebuild is None:
            return self
        model, kwargs = self.rebuild()
        return replace(self, model=model, kwargs=self.kwargs if self.has_inputs else kwargs or {}, stand_in=False)

    def of_copy(self, model: nn.Module, *, same_names: bool = True) -> Network:
        """The network of a plain copy of the model with other weights, not captured again if its names are the same."""
        found = replace(self, model=model, masks={}, uses={}, by_zeros=frozenset(), weights={})
        if same_names:
            found._captured.update(self._captured)
            vars(found)["samples_axis"] = self.samples_axis
        return found

    def present(self) -> tuple[Parameters, Mapping[str, torch.Tensor], Mapping[str, Mask]]:
        """What the model holds now: its parameters, the masks that it carries, and those of uses that keep less."""
        if isinstance(self.model, ExportedProgram):
            return Parameters.of(self.model), {}, self.uses
        twin = unmasked(self.model)
        return Parameters.of(twin.model), twin.masks, self.uses or twin.uses

    def captured(self, uses: Iterable[str] = ()) -> tuple[ExportedProgram, Mapping[str, str]]:
        """The program that tells these uses of shared parameters apart, and the use that each of their names means."""
        wanted = frozenset(uses)
        for apart, found in self._captured.items():
            if wanted <= apart:
                return found
        self._captured[wanted] = self._capture(wanted)
        return self._captured[wanted]

    def _capture(self, uses: frozenset[str]) -> tuple[ExportedProgram, Mapping[str, str]]:
        if self.stand_in:
            return self.built()._capture(uses)
        if isinstance(self.model, ExportedProgram):
            if uses:
                raise MaskError(
                    "a captured program must have one mask for each parameter: it does not tell the uses of a shared one apart",
                    place=", ".join(uses), received="a mask for some uses only",
                    way_out="give the module itself as the model",
                )  # fmt: skip
            return settled(self.model, self.batch_axis), {}
        twin = unmasked(self.model).model
        names, step = separate(twin, sorted(uses)), told("tracing")
        step(0, 1)
        program = trace(twin, self.inputs or (), self.kwargs, self.samples_axis)
        step(1, 1)
        return program, names

    def __repr__(self) -> str:
        notes = f", {len(self.notes)} notes" if self.notes else ""
        return f"Network({self.title}, {len(self.parameters.tensors)} parameters{notes})"


def network_of(
    model: Any,
    example_inputs: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    batch_axis: int | None = 0,
    **belonging: Any,
) -> Network:
    """A model and its inputs as a network; a network as it is.

    ``belonging`` are further fields of it. Raises ArgumentError where a network is given and something beside it.
    """
    if isinstance(model, Network):
        beside = {"example_inputs": example_inputs, "kwargs": kwargs or None, **belonging}
        found = [name for name, value in beside.items() if value is not None]
        if found or batch_axis not in (0, model.batch_axis):
            raise ArgumentError(
                "a network must bring what belongs to it", received=", ".join(found) or f"batch_axis {batch_axis}",
                way_out="give it to graphsparse.network",
            )  # fmt: skip
        return model
    fields = {name: value for name, value in belonging.items() if value is not None}
    if isinstance(model, ExportedProgram):
        model = with_examples(model, example_inputs, kwargs)
        args, named = model.example_inputs or (None, {})
        title, room = "the program", model.graph_module.meta.get(ROOM, inf)
    else:
        require_module(model)
        args, named = as_arguments(example_inputs, kwargs)
        title, room = type(model).__name__, inf
    return Network(model, args, named, title=title, batch_axis=batch_axis, room=room, **fields)

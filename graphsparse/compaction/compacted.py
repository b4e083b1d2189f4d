"""A compacted model, and the way between its tensors and those of the model that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn

from graphsparse.compaction.report import Report
from graphsparse.compaction.tensors import copy_modes, put_back, remade, taken, with_constants
from graphsparse.errors import MaskError
from graphsparse.networks.models import named_tensors


@dataclass(frozen=True, eq=False, repr=False)
class Compacted:
    """A smaller dense model and where its tensors come from.

    ``model`` needs no graphsparse: the modules and names are those of the model that was given, with fewer units.
    ``unit_map`` has for every parameter and buffer, axis by axis, the old index of each new index. Where experts leave a
    list, those after them move up; ``names`` has the old name of each tensor whose name changed so.
    """

    model: nn.Module
    unit_map: Mapping[str, tuple[torch.Tensor, ...]]
    report: Report
    masked: nn.Module = field(repr=False)
    folded: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    def shrink(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Cut tensors of the whole model to those of the smaller one: masks, the state of an optimiser, gradients.

        Numbers (tensors of no axis) stay as they are; tensors of experts that left as a whole are left out. Raises
        MaskError where a name or a shape does not fit.

        Example:
            >>> import graphsparse as gs
            >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
            >>> masks = {"1.weight": torch.tensor([[True, False, True]])}
            >>> compacted = gs.compact(model, torch.zeros(1, 2), masks)
            >>> compacted.shrink({"0.bias": torch.tensor([1.0, 2.0, 3.0])})
            {'0.bias': tensor([1., 3.])}
        """
        found = {}
        for old, tensor in tensors.items():
            name = self._new_names.get(old, old)
            if name is not None:
                found[name] = taken(tensor, self._index(name, tensor, new=False))
        return found

    def expand_tensors(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The inverse of `shrink`: tensors of the whole model, zero (False) where units left."""
        found = {}
        for name, tensor in tensors.items():
            index, old = self._index(name, tensor, new=True), self.names.get(name, name)
            whole = tensor.new_zeros(self._old[old].shape if index else tensor.shape)
            found[old] = put_back(tensor, whole, index)
        return found

    def expand(self) -> nn.Module:
        """The whole masked model again, with the weights that the smaller one has now.

        What left comes back as it was, and constants leave the biases that took them over.
        """
        new = self._new_names
        now = {name: self._without_constants(name, tensor.detach()) for name, tensor in named_tensors(self.model)}

        def whole(old: str, tensor: torch.Tensor) -> torch.Tensor:
            name = new[old]
            if name is None:
                return tensor.clone()
            return put_back(now[name], tensor.to(now[name].device), self.unit_map[name])

        made = remade(self.masked, whole)
        for name in self.folded.keys() - set(new.values()):
            self._new_bias(made, name, now[name])
        copy_modes(self.model, made)
        return made

    def _without_constants(self, name: str, now: torch.Tensor) -> torch.Tensor:
        """A tensor without the constants that it took over: what it was, and what training has changed since."""
        if name not in self.folded:
            return now
        whole = self._old.get(self.names.get(name, name))
        before = now.new_zeros(now.shape) if whole is None else taken(whole.detach(), self.unit_map[name]).to(now)
        return before + (now - with_constants(before, self.folded[name]))

    @cached_property
    def _old(self) -> dict[str, torch.Tensor]:
        """The tensors of the whole model."""
        return dict(named_tensors(self.masked))

    @cached_property
    def _new_names(self) -> dict[str, str | None]:
        """The new name of each tensor of the whole model; None of those that left with an expert."""
        new = {self.names.get(name, name): name for name in self.unit_map}
        return {name: new.get(name) for name in self._old}

    def _new_bias(self, made: nn.Module, name: str, rest: torch.Tensor) -> None:
        """A bias that only the smaller model has: what training has added to the constant, where there is anything."""
        if bool(rest.any()):
            weight = name.removesuffix("bias") + "weight"
            old = self.names.get(weight, weight)
            module = made.get_submodule(old.rpartition(".")[0])
            count = vars(module).get("out_features") or self._old[old].shape[0]
            module.bias = nn.Parameter(put_back(rest, rest.new_zeros(count), self.unit_map[name]))

    def _index(self, name: str, tensor: torch.Tensor, *, new: bool) -> tuple[torch.Tensor, ...] | None:
        """The indices that stay of each axis of a tensor. Raises MaskError where its name or shape does not fit."""
        if tensor.dim() == 0:
            return None
        if name not in self.unit_map:
            raise MaskError(
                "a tensor must go by the name of a parameter or a buffer of the model", received=name,
                way_out="take the names of model.state_dict()",
            )  # fmt: skip
        index = self.unit_map[name]
        old = self._old.get(self.names.get(name, name))
        wanted = tuple(len(at) for at in index) if new or old is None else tuple(old.shape)
        if tuple(tensor.shape) != wanted:
            raise MaskError(
                "a tensor must have the shape that the model's own has", place=name,
                received=f"{tuple(tensor.shape)}, not {wanted}",
                way_out="shrink takes tensors of the whole model, expand_tensors those of the smaller one",
            )  # fmt: skip
        return index

    def __repr__(self) -> str:
        one, two = self.report.before, self.report.after
        return f"Compacted({one.parameters:,} -> {two.parameters:,} parameters, {one.macs:,} -> {two.macs:,} MACs)"

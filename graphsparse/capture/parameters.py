"""The parameters of a model under the graph's names: shared ones under their first name, values where they are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.usage import Usage


@dataclass(frozen=True, eq=False)
class Parameters:
    """``tensors`` by name, one per parameter; ``canonical`` gives every name of a parameter its first one."""

    tensors: Mapping[str, torch.Tensor]
    canonical: Mapping[str, str]
    model_name: str

    @classmethod
    def of_module(cls, model: nn.Module) -> Parameters:
        """Names as in ``model.named_parameters()``; a tied parameter goes by its first."""
        return cls._of(dict(model.named_parameters(remove_duplicate=False)), type(model).__name__)

    @classmethod
    def of_program(cls, program: ExportedProgram) -> Parameters:
        """Names as in the program's state dict, which lists a tied parameter under each."""
        return cls._of({name: program.state_dict[name] for name in program.graph_signature.parameters}, "the program")

    @classmethod
    def _of(cls, named: Mapping[str, torch.Tensor], model_name: str) -> Parameters:
        canonical = first_names(named)
        return cls({name: t.detach() for name, t in named.items() if canonical[name] == name}, canonical, model_name)

    def weights_of(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Values as numpy arrays that share memory; bfloat16, which numpy does not have, as float32 copies."""
        known = {name: self.tensors[name] for name in names if name in self.tensors}
        return {name: _as_numpy(tensor) for name, tensor in known.items() if not tensor.is_meta}

    def kept(self, name: str) -> np.ndarray:
        """Which entries are not zero, as `nonzero_entries`."""
        return nonzero_entries(self.tensors[name])

    def in_order(self, kernels: Iterable[str]) -> dict[str, torch.Size]:
        """Kernels in the model's order of parameters, not in that of their use."""
        return {name: tensor.shape for name, tensor in self.tensors.items() if name in kernels}

    def without_connections(self, usage: Usage) -> dict[str, tuple[int, ...]]:
        """The shapes of the parameters that hold no connections and that no sweep reads: tables at constant indices."""
        known = {*usage.kernels, *usage.modulators, *self.unused(usage)}
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items() if name not in known}

    def unused(self, usage: Usage) -> tuple[str, ...]:
        """Kernel-shaped parameters that the captured program never uses."""
        return tuple(name for name, tensor in self.tensors.items() if tensor.dim() > 1 and name not in usage.read)


def nonzero_entries(tensor: torch.Tensor) -> np.ndarray:
    """Which entries are not zero (NaN and infinity are kept); all of them where the values are not known."""
    return np.ones(tuple(tensor.shape), bool) if tensor.is_meta else (_computable(tensor.detach()) != 0).cpu().numpy()


def first_names(named: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """The first name of each tensor, by every name of it: tied tensors are one."""
    first: dict[tuple[Any, ...], str] = {}
    return {name: first.setdefault(_identity(tensor), name) for name, tensor in named.items()}


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Two names are one parameter where memory, shape and type agree; what has no address is one where it is one object."""
    address = 0 if tensor.is_meta else tensor.data_ptr()
    return (address, tuple(tensor.shape), tensor.stride(), tensor.dtype) if address else (id(tensor),)


def _as_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = _computable(tensor.cpu())
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _computable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in a type that torch compares, which those of eight bits are not."""
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor

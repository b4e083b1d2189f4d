"""The parameters of a model under the graph's names: shared ones under their first name, values where they are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram


@dataclass(frozen=True, eq=False)
class Parameters:
    """``tensors`` by name, one per parameter; ``canonical`` gives every name of a parameter its first one."""

    tensors: Mapping[str, torch.Tensor]
    canonical: Mapping[str, str]
    model_name: str

    @classmethod
    def of(cls, model: nn.Module | ExportedProgram) -> Parameters:
        """Names as in ``model.named_parameters()``, or in the program's state dict, which has all names of tied ones."""
        if isinstance(model, ExportedProgram):
            title, named = "the program", {name: model.state_dict[name] for name in model.graph_signature.parameters}
        else:
            title, named = type(model).__name__, dict(model.named_parameters(remove_duplicate=False))
        canonical = first_names(named)
        return cls({name: t.detach() for name, t in named.items() if canonical[name] == name}, canonical, title)

    def weights_of(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Values as numpy arrays that share memory; bfloat16, which numpy does not have, as float32 copies."""
        known = {name: self.tensors[name] for name in names if name in self.tensors}
        return {name: _as_numpy(tensor) for name, tensor in known.items() if not tensor.is_meta}


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

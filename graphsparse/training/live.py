"""A network with the weights that are trained now, also where it was made of a copy of the model."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import Network
from graphsparse.errors import GraphsparseError
from graphsparse.training.kept import is_spread, unwrapped, whole
from graphsparse.training.kept_masks import KeptMasks
from graphsparse.training.processes import Processes

Model = nn.Module | ExportedProgram


class LiveNetwork:
    """The network of a schedule; `now` gives it with the weights that are trained.

    A network that was made of the trained model itself has them. For one that was made of a copy there is a twin, which
    takes the weights and buffers of the trained model by name; the copy is not touched. Where the model is spread over
    processes, they are gathered into the twin of the first process, which decides for all.

    Raises GraphsparseError where the network is of another model, or of the trained one and that has been spread since.
    """

    def __init__(self, handle: KeptMasks, network: Network):
        self._handle, self._given = handle, network
        self._twin: Network | None = None
        self._is_live()

    def now(self, processes: Processes) -> Network:
        """The network with the weights of this moment; all processes that train the model ask at the same time."""
        model = self._given.model
        if self._is_live() or isinstance(model, ExportedProgram):
            return self._given
        trained = _tensors(self._handle.model)
        if processes.is_first and self._twin is None:
            self._twin = replace(self._given, model=_copied(model), weights={})
        network = self._twin or self._given
        for name, tensor in _tensors(network.model).items():
            if name in trained:
                value = whole(trained[name].detach())
                if processes.is_first:
                    tensor.detach().copy_(value)
        return network

    def _is_live(self) -> bool:
        """Whether the network has the very parameters that are trained, not copies of them."""
        trained = _tensors(self._handle.model)
        own = {name: tensor for name, tensor in _tensors(self._given.model).items() if isinstance(tensor, nn.Parameter)}
        for name, parameter in own.items():
            if name not in trained or trained[name].shape != parameter.shape:
                found = f"{tuple(trained[name].shape)} there" if name in trained else "no such parameter there"
                raise GraphsparseError(
                    "a schedule must have a network of the model that is trained, or of a copy of it", place=name,
                    received=found, way_out="give network(model, x)",
                )  # fmt: skip
        if any(trained[name] is not parameter for name, parameter in own.items()):
            if isinstance(self._given.model, ExportedProgram):
                raise GraphsparseError(
                    "a program in a schedule must have the parameters that are trained", received="copies of them",
                    way_out="give the module: network(model, x)",
                )  # fmt: skip
            return False
        spread = next((name for name, parameter in own.items() if is_spread(parameter)), None)
        if spread is not None:
            raise GraphsparseError(
                "the network of a schedule must hold its parameters whole", place=spread,
                received="one spread over processes (DTensor)",
                way_out="make it of a copy before the model is sharded: network(copy.deepcopy(model), x)",
            )  # fmt: skip
        return True


def _tensors(model: Model) -> dict[str, torch.Tensor]:
    """Parameters and buffers by every name of them, themselves: a state dict has those of `fully_shard` at any time."""
    if isinstance(model, ExportedProgram):
        return dict(model.state_dict)
    model = unwrapped(model)
    found = {**dict(model.named_buffers()), **model.state_dict(keep_vars=True)}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def _copied(model: nn.Module) -> nn.Module:
    """A copy with tensors of its own, with memory also where the model is on the meta device."""
    twin = deepcopy(unwrapped(model))
    return twin.to_empty(device="cpu") if any(parameter.is_meta for parameter in twin.parameters()) else twin

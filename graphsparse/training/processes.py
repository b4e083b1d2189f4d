"""Processes that train one model together: what a schedule decides is decided by one of them, for all."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from graphsparse.errors import GraphsparseError, brief
from graphsparse.training.kept import is_spread

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Processes:
    """The groups of processes that train a model: those of each axis of the meshes over which its parameters are spread
    (DTensor), and those of ``copies``, the DistributedDataParallel around it. Without groups it is trained in one process.

    What follows is asked in all processes at the same time.
    """

    model: nn.Module
    groups: tuple[Any, ...]
    copies: tuple[DistributedDataParallel, ...]

    @property
    def is_first(self) -> bool:
        """Whether this process decides: it has rank 0 in every group."""
        return all(distributed.get_rank(group) == 0 for group in self.groups)

    def agreed(self, decide: Callable[[], T]) -> T:
        """What the first process decides; where it raises an error, all do."""
        if not self.groups:
            return decide()
        outcome: list[Any] = [_tried(decide) if self.is_first else None]
        for group in self.groups:
            distributed.broadcast_object_list(outcome, group=group, group_src=0)
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    def averaged(
        self, gradients: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Gradients by parameter, averaged as DistributedDataParallel averages those that it hands to the optimiser.

        A process that did not use a parameter of ``like`` has no gradient of it: zeros count there.
        """
        found = dict(gradients)
        for wrapper in self.copies if found else ():
            held, group = {id(parameter) for parameter in wrapper.parameters()}, wrapper.process_group
            for name in (name for name in like if id(self.model.get_parameter(name)) in held):
                gradient = found[name] if name in found else torch.zeros_like(self.model.get_parameter(name))
                found[name] = gradient.detach().contiguous()
                distributed.all_reduce(found[name], group=group)
                found[name] /= distributed.get_world_size(group)
        return found


def processes_of(model: nn.Module) -> Processes:
    """The processes that train a model now."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return Processes(model, (), ())
    state = model.state_dict(keep_vars=True).values()  # parameters() are those of `fully_shard` at some times only
    spread: list[Any] = [each for each in state if isinstance(each, torch.Tensor) and is_spread(each)]
    meshes = {id(each.device_mesh): each.device_mesh for each in spread}
    copies = _wrappers(model)
    groups = [group for mesh in meshes.values() for group in mesh.get_all_groups()]
    groups += [wrapper.process_group for wrapper in copies]
    return Processes(model, tuple({id(group): group for group in groups}.values()), copies)


def _wrappers(model: nn.Module) -> tuple[DistributedDataParallel, ...]:
    """Every DistributedDataParallel that holds parameters of the model.

    The model does not know of it, and it may have been made after the masks: so it is searched among all objects.
    """
    parameters = {id(parameter) for parameter in model.parameters()}
    kinds = {DistributedDataParallel, *DistributedDataParallel.__subclasses__()}
    found = [each for each in gc.get_objects() if type(each) in kinds]  # issubclass would take five times as long
    return tuple(each for each in found if any(id(parameter) in parameters for parameter in each.parameters()))


def _tried(decide: Callable[[], Any]) -> Any:
    """What is decided, or the error, in a form that other processes can be sent."""
    try:
        return decide()
    except Exception as error:  # of any kind: the other processes wait, and must raise it too
        try:
            return pickle.loads(pickle.dumps(error))
        except Exception:  # what cannot be sent fails in ways of its own
            return GraphsparseError(brief(error))

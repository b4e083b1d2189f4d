"""What holds masks while a model is trained: it listens to optimisers and zeroes what they change."""

from __future__ import annotations

import weakref
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from graphsparse.errors import GraphsparseError, MaskError
from graphsparse.training.gradients import Gradients, zero_gradients
from graphsparse.training.kept import (
    Kept,
    as_integers,
    checked,
    find,
    form_of,
    found,
    local,
    unwrapped,
    whole,
)
from graphsparse.training.optimisers import (
    STAY_ZERO,
    forget_directions,
    must_hold_one,
    parameters_of,
    remembered,
    torch_optimisers,
)
from graphsparse.training.zeroing import Pair, multiply, zero


class KeptMasks:
    """What `keep_masks` gives: it holds the masks, changes them and ends, as a context manager with its block.

    It is stateful, as torch.distributed.checkpoint calls it: saved and loaded among other states, it takes the masks along.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Any], optimizer: Any = None):
        self._model = weakref.ref(unwrapped(model))  # hooks of optimisers hold the handle, and may outlive the model
        self._kept: dict[str, Kept] = {}
        self._hooks: list[RemovableHandle] = []
        self._optimisers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._gradients = Gradients()
        self._stepping: list[Kept] = []
        wanted, optimisers = checked(unwrapped(model), masks), torch_optimisers(optimizer)
        self._named = bool(optimisers)
        must_hold_one(optimisers, {id(parameter) for parameter, _ in wanted.values()})
        self._listen(optimisers)
        self._take(wanted)
        weakref.finalize(unwrapped(model), KeptMasks._end, self._hooks, self._kept)

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """The masks: ``{parameter name: bool tensor}`` on the parameters' devices, copies; spread ones are gathered."""
        return {name: whole(mask) for name, mask in self.state_dict().items()}

    def set(self, masks: Mapping[str, Any]) -> None:
        """Hold other masks from now on. A parameter that they leave out is masked no longer.

        Weights, gradients and state are zero at once where the new masks drop; what comes back starts at zero. A compiled
        step is not compiled anew.
        """
        self._take(checked(self.model, masks))

    def apply(self) -> None:
        """Put zeros where masks drop: into weights, gradients, and what known optimisers remember."""
        kept = self._refreshed()
        with torch.no_grad():
            multiply(each.pair() for each in kept)
            zero(pair for optimizer in list(self._optimisers) for pair in self._state(optimizer, kept))
        zero_gradients(kept)
        for each in kept:
            each.known_to_be_zero()

    def forget(self) -> None:
        """Let the optimisers that are known begin anew, as if they had made no step yet."""
        for optimizer in list(self._optimisers):
            optimizer.state.clear()

    def collect(self) -> None:
        """Keep a copy of gradients from now on, before they are masked, until `collected`: growth by gradients needs them."""
        self._gradients.collect()
        self._refreshed()

    def collected(self) -> dict[str, torch.Tensor]:
        """The gradients since `collect`, summed over backward passes: ``{parameter name: tensor}``; none where none came.

        Those of a parameter that is spread over processes are gathered.
        """
        return self._gradients.collected(self._kept.values())

    def remove(self) -> None:
        """End it: zeros stay where they are and may change from now on."""
        self._end(self._hooks, self._kept)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The masks as bool tensors, spread as their parameters are."""
        return {each.name: each.mask != 0 for each in self._refreshed()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hold the masks that `state_dict` gave, as `set`."""
        self.set(state)

    def __enter__(self) -> KeptMasks:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        kept = sum(int(torch.count_nonzero(mask)) for mask in self.masks.values())
        entries = sum(each.parameter.numel() for each in self._kept.values())
        return f"KeptMasks({len(self._kept)} parameters, {kept:,} of {entries:,} entries kept)"

    @property
    def model(self) -> nn.Module:
        """The model, without the wrappers of torch.compile and DistributedDataParallel.

        Raises GraphsparseError where Python has deleted it.
        """
        model = self._model()
        if model is None:
            raise GraphsparseError("the model must still be there", received="a model that Python has deleted")
        return model

    def _listen(self, optimisers: Sequence[Optimizer]) -> None:
        """Hooks around the steps of these optimisers; of all there are and will be where none is named."""
        for optimizer in optimisers:
            self._hooks.append(optimizer.register_step_pre_hook(self._before_step))
            self._hooks.append(optimizer.register_step_post_hook(self._after_step))
            self._meet(optimizer)
        if not optimisers:
            self._hooks.append(register_optimizer_step_pre_hook(self._before_step))
            self._hooks.append(register_optimizer_step_post_hook(self._after_step))

    def _meet(self, optimizer: Optimizer) -> None:
        """Zero what an optimiser remembers from before, and again whenever its state is loaded."""
        self._optimisers.add(optimizer)
        self._hooks.append(optimizer.register_load_state_dict_post_hook(self._zero_state))
        forget_directions(optimizer)
        self._zero_state(optimizer)

    @torch.no_grad()
    def _zero_state(self, optimizer: Optimizer) -> None:
        zero(self._state(optimizer, self._refreshed()))

    def _state(self, optimizer: Optimizer, kept: Iterable[Kept], but: Container[str] = ()) -> Iterator[Pair]:
        return remembered(optimizer, {each.parameter: each.mask for each in kept}, but)

    @torch.no_grad()
    def _take(self, wanted: Mapping[str, tuple[nn.Parameter, torch.Tensor]]) -> None:
        for name in self._kept.keys() - wanted.keys():
            self._kept.pop(name).unhook()
        for name, (parameter, mask) in wanted.items():
            known = self._kept.get(name)
            parameter = known.trained(parameter) if known is not None else parameter
            integers = as_integers(mask, parameter)
            if known is not None and known.parameter is parameter and known.form == form_of(parameter):
                known.here.copy_(local(integers))
            else:
                if known is not None:
                    known.unhook()
                self._kept[name] = Kept(name, parameter, integers)
        for optimizer in list(self._optimisers):
            forget_directions(optimizer)
        self.apply()

    def _refreshed(self) -> list[Kept]:
        """The masked parameters as the model has them now: sharding, moving and restructuring make new ones."""
        model = self._model()
        for each in self._kept.values():
            parameter = each.parameter if model is None else find(model, each.path)
            parameter = each.trained(parameter) if parameter is not None else None
            if parameter is not each.parameter or form_of(each.parameter) != each.form:
                self._found_anew(each, parameter if parameter is not None else found(self.model, each.name))
            if each.hook is None and each.parameter.requires_grad:
                self._gradients.listen(each)
        return list(self._kept.values())

    def _found_anew(self, each: Kept, parameter: nn.Parameter) -> None:
        if each.mask.shape != parameter.shape:
            raise MaskError(
                "a masked parameter must keep its shape", place=each.name,
                received=f"{tuple(parameter.shape)} after {tuple(each.mask.shape)}",
                way_out="give handle.set() the masks of the model as it is now",
            )  # fmt: skip
        if parameter is not each.parameter:
            each.unhook()
        each.place(parameter, as_integers(each.mask, parameter))
        multiply([each.pair()])
        each.known_to_be_zero()

    def _held_by(self, optimizer: Optimizer) -> list[Kept]:
        """Those of the masked parameters that an optimiser holds; while a step is compiled all of them, as they are."""
        if torch.compiler.is_compiling():
            return list(self._kept.values())
        held = {id(parameter) for parameter in parameters_of(optimizer)}
        return [each for each in self._refreshed() if id(each.parameter) in held]

    @torch.no_grad()
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Gradients that others have written since the backward pass: clipping, noise, ``p.grad = ...``."""
        held = self._held_by(optimizer)
        if torch.compiler.is_compiling():
            zero_gradients(held)
            return
        self._stepping = held
        if held and optimizer not in self._optimisers:
            self._meet(optimizer)
        zero_gradients(each for each in held if not each.has_masked_gradient())

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            held = self._held_by(optimizer)
            zero((local(each.parameter), each.here) for each in held)
            zero(self._state(optimizer, held, STAY_ZERO if self._named else ()))  # it may be an optimiser not met yet
            return
        held = self._stepping
        multiply(each.pair() for each in held)
        for each in held:
            each.known_to_be_zero()
        zero(self._state(optimizer, held, STAY_ZERO))

    @staticmethod
    def _end(hooks: list[RemovableHandle], kept: dict[str, Kept]) -> None:
        for hook in hooks:
            hook.remove()
        for each in kept.values():
            each.unhook()
        hooks.clear()
        kept.clear()

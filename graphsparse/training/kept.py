"""Masked parameters of a model: found by name whenever they are used, each with its mask as integers.

A parameter may be spread over processes (DTensor, FSDP2): then so is its mask, and each process masks its own part.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed import is_available
from torch.utils.hooks import RemovableHandle

from graphsparse.arrays import as_mask, by_name
from graphsparse.errors import MaskError
from graphsparse.given_masks import NAMES, disagreement, unknown_name, wrong_shape
from graphsparse.training.zeroing import Pair, bits_of, width_of

_AVAILABLE = is_available()
if _AVAILABLE:
    from torch.distributed.tensor import DTensor, distribute_tensor


@dataclass(eq=False)
class Kept:
    """A masked parameter as it was found last.

    ``mask``: integers of the parameter's width, spread as it is; ``here``: the part of it in this process. ``version``:
    torch's count of the parameter's changes when it was last known to be zero where the mask drops. ``changes``: how many by
    others have been seen. ``gradients``: how many have come in. ``hook``: on its gradient. ``dense``: its gradient since
    `KeptMasks.collect`, before it was masked. ``masked``: the gradient that was masked last, and its version then.
    """

    name: str
    parameter: nn.Parameter
    mask: torch.Tensor
    hook: RemovableHandle | None = None
    version: int = -1
    changes: int = 0
    gradients: int = 0
    dense: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self.path = tuple(self.name.split("."))
        self.place(self.parameter, self.mask)

    def place(self, parameter: nn.Parameter, mask: torch.Tensor) -> None:
        """Take this parameter and this mask, which fits it."""
        self.parameter, self.mask, self.here = parameter, mask, local(mask)
        self.form, self._pointer = form_of(parameter), 0
        self._pair: Pair | None = None
        self.masked: tuple[weakref.ref[torch.Tensor] | None, int] = None, 0

    def trained(self, found: nn.Parameter) -> nn.Parameter:
        """What is trained where the model has this parameter: `fully_shard` shows a whole one after an evaluation."""
        return self.parameter if is_spread(self.parameter) and not is_spread(found) else found

    def pair(self) -> Pair:
        """The parameter's memory read as integers, and its mask; made anew only where the memory is another."""
        weight = local(self.parameter)
        pointer = weight.data_ptr()
        if self._pair is None or pointer != self._pointer:
            self._pair, self._pointer = bits_of(weight, self.here), pointer
        return self._pair

    def has_masked_gradient(self) -> bool:
        """Whether the parameter's gradient is the one that was masked last, and nothing has been written to it since."""
        masked, version = self.masked
        gradient = masked() if masked is not None else None
        return gradient is not None and gradient is self.parameter.grad and local(gradient)._version == version

    def has_been_masked(self) -> None:
        """Remember that the parameter's gradient is masked as it is now."""
        gradient = self.parameter.grad
        self.masked = (weakref.ref(gradient), local(gradient)._version) if gradient is not None else (None, 0)

    def collect(self) -> None:
        """Add the gradient to ``dense``; where the mask drops, it is that of the last backward pass alone."""
        assert self.parameter.grad is not None
        new = local(self.parameter.grad).detach().to_dense()
        self.dense = new.clone() if self.dense is None else torch.where(self.here != 0, new, self.dense + new)

    def known_to_be_zero(self) -> None:
        """Take the parameter's present memory as right."""
        self.version = local(self.parameter)._version

    def unhook(self) -> None:
        """Listen to the gradient no longer."""
        if self.hook is not None:
            self.hook.remove()
            self.hook = None


def form_of(parameter: torch.Tensor) -> tuple[object, ...]:
    """What a mask must fit: type, device, shape, and whether the parameter is spread over processes."""
    return parameter.dtype, parameter.device, parameter.shape, is_spread(parameter)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel: its names are the plain ones."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = model.module if isinstance(model, wrappers) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def find(model: nn.Module, path: Sequence[str]) -> nn.Parameter | None:
    """The parameter that a model has under a name now; as ``get_parameter``, but quick, since every step asks."""
    module: nn.Module | None = model
    for part in path[:-1]:
        module = module._modules.get(part) if module is not None else None
    return module._parameters.get(path[-1]) if module is not None else None


def found(model: nn.Module, name: str) -> nn.Parameter:
    """As `find`. Raises MaskError where the model has no such parameter."""
    parameter = find(model, name.split("."))
    if parameter is not None:
        return parameter
    if find(model, f"{name}_orig".split(".")) is None:
        raise unknown_name(NAMES, name, [each for each, _ in model.named_parameters()], "model")
    raise MaskError(
        "a parameter must be a plain one before it is masked", place=name, received="one of torch.nn.utils.prune",
        way_out="make its mask permanent first: torch.nn.utils.prune.remove(module, name)",
    )  # fmt: skip


def checked(model: nn.Module, masks: Mapping[str, Any]) -> dict[str, tuple[nn.Parameter, torch.Tensor]]:
    """The parameter and the bool mask of each name; a tied parameter once, under its first name in the model.

    Raises MaskError: a name, shape or type does not fit, or masks under two names of one parameter differ.
    """
    first, given_as = {id(parameter): name for name, parameter in model.named_parameters()}, dict[str, str]()
    result: dict[str, tuple[nn.Parameter, torch.Tensor]] = {}
    for name, given in by_name(masks, "masks").items():
        parameter, mask = found(model, name), _as_bools(name, given)
        if mask.shape != parameter.shape:
            raise wrong_shape(name, mask.shape, parameter.shape)
        if parameter.is_meta:
            raise MaskError(
                "a model must have its weights before they are masked", place=name, received="a parameter on the meta device",
                way_out="load the weights first",
            )  # fmt: skip
        known = first[id(parameter)]
        if known in result and not torch.equal(whole(result[known][1]).cpu(), whole(mask).cpu()):
            raise disagreement(given_as[known], name)
        result.setdefault(known, (parameter, mask))
        given_as.setdefault(known, name)
    return result


def _as_bools(name: str, given: Any) -> torch.Tensor:
    """A mask as a bool tensor; one that is a bool tensor already stays on its device."""
    if isinstance(given, torch.Tensor) and given.dtype == torch.bool and given.layout == torch.strided:
        return given.detach()
    return torch.from_numpy(as_mask(name, given))


def as_integers(mask: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A mask of any type as integers of the parameter's width: on its device, spread as it is, and in its memory format."""
    if not (is_spread(mask) and is_spread(parameter)):
        mask = spread_as(whole(mask).to(parameter.device), parameter)
    made = torch.empty_like(parameter.detach(), dtype=width_of(parameter.dtype))
    local(made).copy_(local(mask))
    return made


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether the tensor is spread over a mesh of processes."""
    return _AVAILABLE and isinstance(tensor, DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that this process holds, sharing its memory; a plain tensor as it is."""
    spread: Any = tensor
    return spread._local_tensor if is_spread(tensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor; of a spread one every process asks at the same time."""
    spread: Any = tensor
    return spread.full_tensor() if is_spread(tensor) else tensor


def gathered(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The whole tensor of which this is the part in this process, spread as another one; every process asks at once."""
    mesh: Any = like
    return (
        DTensor.from_local(
            part, mesh.device_mesh, mesh.placements, shape=like.shape, stride=like.stride()
        ).full_tensor()
        if is_spread(like)
        else part
    )


def spread_as(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor, the same in every process, spread as another one; no process sends anything."""
    if not is_spread(like):
        return tensor
    mesh: Any = like
    return distribute_tensor(tensor, mesh.device_mesh, mesh.placements, src_data_rank=None)

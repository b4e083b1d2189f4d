"""A device that is not the CPU, on any machine: tensors that say so, which are held and computed on the CPU.

What a GPU refuses is refused here: operations between the two devices, except by numbers. What a GPU waits for is
written down: copies between the devices, and numbers that are read back. Torch knows the device under its own name for
devices that others add, so whatever runs here runs in a process of its own (`python -m tests.second_device`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("far")
FAR = torch.device("far:0")
ACROSS = {"aten::copy_", "aten::_to_copy", "aten::_foreach_copy_"}
READ_BACK = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero", "aten::masked_select"}
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
_waits: list[str] = []
torch.__future__.set_swap_module_params_on_conversion(
    True
)  # `model.to` puts new tensors in place; data of ours cannot be set


class Far(torch.Tensor):
    """A tensor that says it is on the second device; ``held`` is the tensor on the CPU that it stands for."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Far:
        far = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=FAR
        )
        far.held = held
        return far

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return computed(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        made: torch.Tensor = Far(self.held.detach().clone())
        if isinstance(self, nn.Parameter):
            made = nn.Parameter(made, self.requires_grad)
        memo[id(self)] = made
        return made

    @property
    def data(self) -> torch.Tensor:
        """The tensor apart from what computes gradients; a new one of the same form may take its place."""
        return self.detach()

    @data.setter
    def data(self, new: torch.Tensor) -> None:
        self.held = new.held if isinstance(new, Far) else new

    def data_ptr(self) -> int:
        """Where its memory begins."""
        return self.held.data_ptr()

    def tolist(self) -> Any:
        """The numbers on the host."""
        return self.cpu().tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Far({self.held!r})"


class Devices(TorchDispatchMode):
    """Sees what makes tensors on the second device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation done on the CPU; its results are where the device would have them."""
    name, tensors = (
        operation.name().split(".")[0],
        [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)],
    )
    if any(isinstance(tensor, FakeTensor) for tensor in tensors):
        return operation(*args, **kwargs)  # without content: torch's own check of devices
    far = [tensor for tensor in tensors if isinstance(tensor, Far)]
    near = [tensor for tensor in tensors if not isinstance(tensor, Far) and (tensor.dim() or name in ACROSS)]
    wanted = kwargs.get("device")
    indexed = name in INDEXED and isinstance(tensors[0], Far)  # by indices on the host, which are copied
    if far and near and name not in ACROSS and not indexed:
        raise RuntimeError(f"{operation.name()}: all tensors must be on one device, found {FAR} and {near[0].device}")
    goes_far = torch.device(wanted).type == FAR.type if wanted is not None else bool(far)
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu") if torch.device(wanted).type == FAR.type else wanted}
    if (
        (name in ACROSS and (near or not goes_far) and (far or goes_far))
        or (far and name in READ_BACK)
        or indexed
        and near
    ):
        _waits.append(operation.name())
    args, kwargs = tree_map(lambda each: each.held if isinstance(each, Far) else each, (args, kwargs))
    result = operation(*args, **kwargs)
    if name == "aten::copy_":
        goes_far = isinstance(tensors[0], Far)
    if not goes_far:
        return result
    known = {id(tensor.held): tensor for tensor in far}
    return tree_map(lambda each: _there(each, known) if isinstance(each, torch.Tensor) else each, result)


def _there(result: torch.Tensor, known: dict[int, Far]) -> torch.Tensor:
    """A result on the second device; what an operation changes in place stays the tensor that it was."""
    return known[id(result)] if id(result) in known else result if isinstance(result, Far) else Far(result)


@contextlib.contextmanager
def waits() -> Iterator[list[str]]:
    """The names of operations that make the host wait for the second device, as they come."""
    _waits.clear()
    yield _waits

"""What the names in a pickle of torch.save mean: tensors as windows on the file's bytes, and a few plain values.

Each tensor is a view of bytes of the file, checked before it is made. No function of torch makes a tensor of a size
that only the file says, so no memory of this process is ever read as weights.
Source: torch/_utils.py and torch/_tensor.py, the functions _rebuild_*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch

from graphsparse.checkpoints.archives.mapped import Octets
from graphsparse.checkpoints.archives.pickle_machine import Function, Vocabulary, check_key, would_run
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.checks import DTYPES, TENSOR, Budget, naturals

_QUANTISED = {torch.qint8: torch.int8, torch.quint8: torch.uint8, torch.qint32: torch.int32}
_STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
    "QInt8": torch.qint8, "QUInt8": torch.quint8, "QInt32": torch.qint32,
}  # fmt: skip
_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_LAYOUTS = {str(layout): layout for layout in (torch.strided, *_SPARSE)}

_MOST_AXES = 64
# What reading a tensor takes for each of its bytes, in halves of a byte: its mask, and copies of parts of it. It takes
# more where several elements are the same bytes of the file.
_READ, _EXPANDED = 3, 12


@dataclass(frozen=True)
class Storage:
    """Bytes of the file that tensors are windows on.

    Attributes:
        begin: their offset in the file.
        nbytes: how many there are.
        dtype: the type of their elements; a tensor may name another.
        swapped: whether they were written on a machine with the other byte order.
    """

    begin: int
    nbytes: int
    dtype: torch.dtype
    swapped: bool = False


class Unread:
    """A tensor that is not made: a nested one, or one whose storage is not found yet."""


def vocabulary(octets: Octets, storage: Callable[[Any], Any], budget: Budget) -> Vocabulary:
    """The names that torch.save writes for tensors and plain values, read from these bytes.

    ``storage`` gives the `Storage` that a persistent id stands for; ``budget`` is what the file may cost.
    """
    view: Callable[..., Any] = partial(_view, octets, budget)
    functions: dict[str, Callable[..., Any]] = {
        "torch._utils._rebuild_tensor": view,
        "torch._utils._rebuild_tensor_v2": lambda *args: _marked(view(*args[:4]), *args[6:]),
        "torch._utils._rebuild_tensor_v3": lambda *args: _marked(view(*args[:4], args[6]), *args[7:]),
        "torch._utils._rebuild_parameter": lambda data, *_: data,
        "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
        "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda data, *_: data,
        "torch._utils._rebuild_sparse_tensor": partial(_sparse, budget),
        "torch._utils._rebuild_qtensor": partial(_dequantised, octets, budget),
        "torch._utils._rebuild_nested_tensor": lambda *_: Unread(),
        "torch._utils._rebuild_meta_tensor_no_storage": partial(_hollow, budget),
        "torch.serialization._get_layout": lambda name: _LAYOUTS[name], "torch.Size": lambda sizes=(): sizes,
        "torch.device": lambda *name: name, "collections.OrderedDict": partial(_ordered, budget),
        "collections.Counter": lambda counts: counts if type(counts) is dict else {},
        "builtins.set": lambda items: items if type(items) is list else [],
        "builtins.complex": lambda real, imaginary=0.0: complex(float(real), float(imaginary)),
        "builtins.bytearray": _bytes, "_codecs.encode": _bytes,
    }  # fmt: skip
    functions["torch._tensor._rebuild_from_type_v2"] = partial(_of_type, functions, budget)
    return Vocabulary(_VALUES, functions, storage)


def outline(words: Vocabulary) -> Vocabulary:
    """The same names with no tensor made, for the time before it is known where the storages lie."""
    tensors = (name for name in words.functions if "._rebuild_" in name)
    later: dict[str, Callable[..., Any]] = dict.fromkeys(tensors, lambda *_: Unread())
    return replace(words, functions={**words.functions, **later})


_VALUES: Mapping[str, Any] = {
    **{str(dtype): dtype for dtype in (*DTYPES, *_QUANTISED)},
    **{f"torch.{name}Storage": dtype for name, dtype in _STORAGES.items()},
    **{f"torch.storage.{name}": torch.uint8 for name in ("UntypedStorage", "TypedStorage")},
    **{
        f"torch.{name}": name
        for name in ("per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams")
    },
    **{name: name for name in ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")},
}


def _view(
    octets: Octets, budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """The tensor of this shape on a storage, which must hold all of it."""
    if not isinstance(storage, Storage):
        raise TypeError(f"a tensor on a {type(storage).__name__}")
    dtype = storage.dtype if dtype is None else dtype
    check(dtype in DTYPES, "a tensor must have elements of whole bytes", budget.place, dtype, None)
    _check_shape(size, stride, offset)
    elements, available = prod(size), storage.nbytes // dtype.itemsize
    span = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if elements else 0
    received = f"{offset + span:,} elements of {available:,}"
    check(offset + span <= available, "a tensor must lie within its storage", budget.place, received)
    begin = storage.begin + offset * dtype.itemsize
    copied = span * dtype.itemsize if storage.swapped or begin % dtype.itemsize else 0
    budget.spend(TENSOR + copied + elements * dtype.itemsize * (_EXPANDED if elements > span else _READ) // 2)
    if not elements:
        return torch.empty(tuple(size), dtype=dtype)
    flat = octets.tensor(dtype, (span,), begin)
    return torch.as_strided(_swapped(flat) if storage.swapped else flat, tuple(size), tuple(stride)).detach()


def _check_shape(size: Any, stride: Any, offset: Any = 0) -> None:
    if not (naturals(size) and naturals(stride) and naturals((offset,)) and len(size) == len(stride) <= _MOST_AXES):
        raise ValueError("a tensor's sizes, strides and offset are whole numbers, for at most 64 axes")


def _swapped(flat: torch.Tensor) -> torch.Tensor:
    """A copy with the bytes of each number in the other order."""
    unit = flat.dtype.itemsize // (2 if flat.is_complex() else 1)
    return flat.view(torch.uint8).view(-1, unit).flip(1).reshape(-1).view(flat.dtype)


def _marked(tensor: torch.Tensor, bits: Any = None) -> torch.Tensor:
    """The tensor with torch's bits for "read as conjugate" and "read as negative"."""
    bits = bits if type(bits) is dict else {}
    tensor = tensor.conj() if bits.get("conj") is True else tensor
    return torch._neg_view(tensor) if bits.get("neg") is True else tensor


def _sparse(budget: Budget, layout: Any, parts: Any) -> torch.Tensor:
    """The sparse tensor of these parts. Its indices are checked later: see `check_sparse`."""
    budget.spend(TENSOR)
    *tensors, size = parts if layout is not torch.sparse_coo else parts[:3]
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors) or not naturals(size) or len(size) > _MOST_AXES:
        raise TypeError("a sparse tensor of something else than tensors and a shape")
    if layout is torch.sparse_coo:
        indices, values = tensors
        return torch.sparse_coo_tensor(indices, values, size, check_invariants=False)
    outer, inner, values = tensors
    return torch.sparse_compressed_tensor(outer, inner, values, size, layout=layout, check_invariants=False)


def _dequantised(
    octets: Octets, budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, quantiser: Any, *_: Any
) -> torch.Tensor:
    """The values that a quantised tensor stands for, (integer - zero point) x scale, as float32."""
    whole = getattr(storage, "dtype", None) in _QUANTISED
    check(whole, "a quantised tensor must have elements of whole bytes", budget.place, way_out=None)
    integers = _view(octets, budget, storage, offset, size, stride, _QUANTISED[storage.dtype])
    scheme, scale, zero_point, *axis = quantiser
    budget.spend(4 * integers.numel())
    if scheme == "per_tensor_affine":
        return integers.float().sub_(float(zero_point)).mul_(float(scale))
    along = [1] * integers.dim()
    along[axis[0]] = -1
    scales, zero_points = (torch.as_tensor(part).float().reshape(along) for part in (scale, zero_point))
    return integers.float().sub_(zero_points).mul_(scales)


def _hollow(budget: Budget, dtype: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """A tensor on the meta device: a shape, and no memory at all."""
    budget.spend(TENSOR)
    _check_shape(size, stride)
    return torch.empty_strided(tuple(size), tuple(stride), dtype=dtype, device="meta")


def _of_type(
    functions: Mapping[str, Callable[..., Any]], budget: Budget, function: Any, _: Any, arguments: Any, *__: Any
) -> Any:
    """A tensor of a subclass, or with attributes, as a plain tensor."""
    if type(function) is not Function or not function.name.startswith("torch._utils._rebuild"):
        raise would_run(f"a tensor made by {str(function)[:80]}", budget.place)
    return functions[function.name](*arguments)


def _ordered(budget: Budget, pairs: Any = ()) -> dict[Any, Any]:
    """An OrderedDict of the pairs that Python 2 wrote; from Python 3 it is empty here and filled by later opcodes."""
    budget.spend(200 * (len(pairs) + 1))
    if not all(type(key) is str for key, _ in pairs):
        raise TypeError("a table whose keys are no names")
    for key, _ in pairs:
        check_key(key, budget.place)
    return dict(pairs)


def _bytes(text: Any = b"", encoding: Any = "latin1") -> Any:
    """The bytes that protocol 2 writes as text. Nothing uses them, so they stay text."""
    if type(text) not in (bytes, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise TypeError(f"bytes made of a {type(text).__name__}")
    return text

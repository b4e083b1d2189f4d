"""What people give as masks, scores and targets, as plain arrays and numbers: tensors of every type and layout, lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphsparse.errors import MaskError, TargetError


def by_name(given: Any, what: str) -> Mapping[str, Any]:
    """The mapping as it is. Raises MaskError where it is none; ``what`` is what people call it."""
    way_out = "give {name: tensor}, with the names of model.named_parameters()"
    if not isinstance(given, Mapping):
        received = type(given).__name__
        raise MaskError(f"{what} must be a mapping of parameter names to tensors", received=received, way_out=way_out)
    if strange := [type(name).__name__ for name in given if not isinstance(name, str)]:
        received = f"a name of type {strange[0]}"
        raise MaskError(f"{what} must go by parameter names", received=received, way_out=way_out)
    return given


def as_number(what: str, value: Any, example: float) -> float:
    """The value as a number. Raises TargetError for text, even where it could be read as a number."""
    try:
        return value + 0.0
    except (TypeError, RuntimeError, ValueError) as error:
        raise TargetError(
            f"a {what} must be a number", received=repr(value)[:80], way_out=f"for example {what}={example}"
        ) from error


def as_array(name: str, value: Any, what: str) -> np.ndarray:
    """A tensor, array or nested list as a dense array of numbers or booleans.

    Types that NumPy does not have (bfloat16, float8) become float32; sparse and quantised tensors become dense. A CPU
    tensor of another type shares its memory. Raises MaskError for a tensor without values (on the meta device), for rows
    of different lengths, and for what holds no real numbers; ``what`` is what people call it ("mask", "score").
    """
    if getattr(value, "is_meta", False):
        raise MaskError(
            f"a {what} must have values", place=name, received="a tensor on the meta device", way_out="load its values"
        )
    try:
        array = np.asarray(_dense(value) if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, in torch or in NumPy
        raise _no_array(name, what, type(value).__name__) from error
    if array.dtype.kind not in "biuf":
        raise _no_array(name, what, f"{type(value).__name__} of {array.dtype}")
    return array


def as_mask(name: str, value: Any) -> np.ndarray:
    """A mask as a bool array. Raises MaskError where it holds other values than 0 and 1."""
    array = as_array(name, value, "mask")
    if array.dtype == bool:
        return array
    if bool(((array == 0) | (array == 1)).all()):
        return array.astype(bool)
    raise MaskError(
        "a mask must be boolean, True where the weight is kept", place=name,
        received=f"{array.dtype} with values other than 0 and 1", way_out="give mask != 0",
    )  # fmt: skip


def _no_array(name: str, what: str, received: str) -> MaskError:
    return MaskError(
        f"a {what} must be a dense tensor of real numbers", place=name, received=received,
        way_out="give a tensor of the parameter's shape",
    )  # fmt: skip


def _dense(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    tensor = (tensor if str(tensor.layout) == "torch.strided" else tensor.to_dense()).cpu()
    try:
        return tensor.numpy()
    except TypeError:  # a type that NumPy does not have
        return tensor.float().numpy()

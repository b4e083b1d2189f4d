"""Arrays under Keras' or Flax' names (``dense/kernel:0``), lists in their layout, and JaxPruner's packed masks.

JaxPruner packs a mask by ``numpy.packbits`` of the flattened array: one axis, the first bit the highest. It has no
shape, so the model's parameters are needed. Source: jaxpruner/base_updater.py, ``use_packed_masks``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.checks import in_parts
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Entry, Form, Reading, zeros_entry
from graphsparse.checkpoints.forms.layouts import shape_from_torch, to_torch, torch_name
from graphsparse.checkpoints.forms.listed import ordered_reading
from graphsparse.checkpoints.names import UNKNOWN, Shape, match
from graphsparse.errors import MaskError


def _is_flat(content: Content) -> bool:
    """Whether every tensor is a row of bytes."""
    return all(tensor.dim() == 1 and tensor.dtype == torch.uint8 for tensor in content.tensors.values())


def recognise(content: Content) -> bool:
    return not _is_flat(content) and any(torch_name(name)[1] for name in content.tensors)


def read(content: Content, request: Request) -> Reading:
    """Reads named arrays by their zeros (masks of zeros and ones and pruned weights alike), lists by order."""
    if isinstance(content.raw, list):
        masks = [None if mask is None else to_torch(mask) for mask in content.raw]
        return ordered_reading(masks, content, request, other_layout=False)
    entries = {}
    for key, tensor in content.tensors.items():
        name, turn = torch_name(key)
        entries[name] = zeros_entry(turn(tensor) if turn else tensor, content, key)
    return Reading(entries, {}, content.ignored)


KERAS = Form("keras", "Keras and Flax names or lists, kernels (height, width, in, out)", recognise, read)


def _is_packed(content: Content) -> bool:
    if not content.tensors or not _is_flat(content):
        return False
    # without a byte above 1 they are masks of rank 1, one byte per entry
    return any(bool((part > 1).any()) for tensor in content.tensors.values() for part in in_parts(tensor))


def _read_packed(content: Content, request: Request) -> Reading:
    parameters = request.parameters
    if parameters is None:
        rule = "packed masks of JaxPruner must come with the shapes of parameters"
        raise MaskError(rule, place=content.place, way_out="give the model's parameters")
    names = _names(content, parameters, request.by_order)
    entries = {
        name: _packed_entry(content.tensors[key], tuple(parameters[name]), turned, content.named(key))
        for key, (name, turned) in names.items()
    }
    unknown = dict.fromkeys((key for key in content.tensors if key not in names), UNKNOWN)
    return Reading(entries, {}, {**content.ignored, **unknown}, ordered=True)


def _names(content: Content, parameters: Mapping[str, Shape], by_order: bool) -> dict[str, tuple[str, bool]]:
    """{key: (parameter, whether it is packed in Flax' layout)}: a kernel that torch calls weight is."""
    turned = {key: bool(torch_name(key)[1]) for key in content.tensors}
    keys = {torch_name(key)[0]: key for key in content.tensors}
    if by_order and not any(name in parameters for name in (*keys, *content.tensors)):
        kernels = [name for name, shape in parameters.items() if len(shape) > 1]
        if len(kernels) == len(content.tensors):
            return {key: (name, turned[key]) for key, name in zip(content.tensors, kernels, strict=True)}
    direct = {key: (key, False) for key in content.tensors if key in parameters}
    if direct:
        return direct
    found, _ = match(dict.fromkeys(keys, ()), parameters)
    return {keys[name]: (parameter, turned[keys[name]]) for name, parameter in found.items()}


def _packed_entry(packed: torch.Tensor, shape: Shape, turned: bool, place: str) -> Entry:
    elements = math.prod(shape)
    check(packed.numel() == -(-elements // 8), "a packed mask must have one bit per entry", place,
          f"{packed.numel()} bytes for {shape}", "give the model that it was made for", MaskError)  # fmt: skip

    def pattern() -> torch.Tensor:
        bits = np.unpackbits(packed.numpy(), bitorder="big")
        filled = not bits[elements:].any()
        check(filled, "the last byte must be filled up with zeros", place, None, "give the right model", MaskError)
        mask = torch.from_numpy(bits[:elements].astype(bool))
        return to_torch(mask.reshape(shape_from_torch(shape))) if turned else mask.reshape(shape)

    return Entry(shape, pattern, (packed,))


JAXPRUNER = Form("jaxpruner", "JaxPruner's packed masks: flat bits, the highest first", _is_packed, _read_packed)

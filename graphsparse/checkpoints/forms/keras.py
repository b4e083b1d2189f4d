"""Arrays under Keras' or Flax' names (``dense/kernel:0``), laid out the other way round; and lists in that layout."""

from __future__ import annotations

import torch

from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Form, Reading, zeros_entry
from graphsparse.checkpoints.forms.layouts import KERNEL_NAMES, depthwise_to_torch, last_part, to_torch, torch_name
from graphsparse.checkpoints.forms.listed import read_keras


def recognise(content: Content) -> bool:
    packed = all(tensor.dim() == 1 and tensor.dtype == torch.uint8 for tensor in content.tensors.values())
    return not packed and any(last_part(name) in KERNEL_NAMES for name in content.tensors)


def read(content: Content, request: Request) -> Reading:
    """Reads named arrays by their zeros (masks of zeros and ones and pruned weights alike), lists by order."""
    if isinstance(content.raw, list):
        return read_keras(content, request)
    entries = {}
    for key, tensor in content.tensors.items():
        name, turned = torch_name(key)
        if turned:
            tensor = depthwise_to_torch(tensor) if last_part(key) == "depthwise_kernel" else to_torch(tensor)
        entries[name] = zeros_entry(tensor, content, key)
    return Reading(entries, {}, content.ignored)


KERAS = Form("keras", "Keras and Flax names or lists, kernels (height, width, in, out)", recognise, read)

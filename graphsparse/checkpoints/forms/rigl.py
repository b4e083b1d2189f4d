"""rigl-torch: ``backward_masks``, a list in the order of the layers, None where a layer is dense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from graphsparse.checkpoints.content import Content, Request, unwrap
from graphsparse.checkpoints.forms.form import Form, Reading
from graphsparse.checkpoints.forms.listed import ordered_reading
from graphsparse.checkpoints.names import Shape, strip_wrappers

_KEY = "backward_masks"


def _masks(raw: Any) -> list[torch.Tensor | None] | None:
    """The list, in the scheduler's own state dict or one level down in a training checkpoint."""
    if not isinstance(raw, Mapping):
        return None
    for table in (raw, *(value for value in raw.values() if isinstance(value, Mapping))):
        masks = table.get(_KEY)
        if isinstance(masks, list) and masks and all(m is None or isinstance(m, torch.Tensor) for m in masks):
            return masks
    return None


def _model_beside(content: Content) -> dict[str, Shape] | None:
    """Names and shapes of the state dict in the same file: the order of the model's layers."""
    if not isinstance(content.raw, Mapping) or _KEY in content.raw:
        return None
    state, _ = unwrap(content.raw, content.place)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    plain = strip_wrappers(name for name in tensors if isinstance(name, str))
    return {plain[name]: tuple(tensors[name].shape) for name in plain} or None


def read(content: Content, request: Request) -> Reading:
    masks = _masks(content.raw) or []
    parameters = request.parameters or _model_beside(content)
    return ordered_reading(masks, content, Request(parameters, request.by_order), other_layout=False)


RIGL = Form("rigl", "rigl-torch: backward_masks, a list in layer order", lambda content: _masks(content.raw), read)

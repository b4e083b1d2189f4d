"""Masks in a list, without names, matched by order and only when asked for: npz and npy files, lists of torch.save.

They are in torch's layout, or in Keras' where only that fits. rigl-torch's list, ``backward_masks``, has None where a
layer is dense.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.content import Content, Request, unwrap
from graphsparse.checkpoints.forms.form import Entry, Form, Reading, mask_entry
from graphsparse.checkpoints.forms.layouts import to_torch
from graphsparse.checkpoints.names import Shape, in_order, shown, strip_wrappers
from graphsparse.errors import MaskError


def read(content: Content, request: Request) -> Reading:
    masks = content.raw if _is_list(content.raw) else []
    return ordered_reading(masks, content, request, other_layout=not request.named)


def ordered_reading(
    masks: Sequence[torch.Tensor | None], content: Content, request: Request, *, other_layout: bool
) -> Reading:
    """The reading of masks that only their order names; ``other_layout``: that of Keras may be meant.

    Raises:
        MaskError: no model is given, order was not asked for, the shapes do not fit, or they fit in two layouts.
    """
    if request.parameters is None or not request.by_order:
        raise MaskError(
            "a list of masks must come with the names of parameters", place=content.place,
            received=f"{len(masks)} masks {shown([_shape(mask) for mask in masks])}",
            way_out="give the model's parameters and ask for by_order=True",
        )  # fmt: skip
    turned = [None if mask is None else to_torch(mask) for mask in masks]
    names = _fit(masks, request)
    turned_names = _fit(turned, request) if other_layout else None
    both = names and turned_names and any(mask is not None and mask.dim() > 1 for mask in masks)
    received, way_out = "both torch's (out, in, ...) and Keras' (..., in, out) fit", "name form='list' or form='keras'"
    check(not both, "a list of masks must fit in one layout", content.place, received, way_out, MaskError)
    if not names and turned_names:
        masks, names = turned, turned_names
    names = names or in_order([_shape(mask) for mask in masks], request.parameters)
    entries = {}
    for name, mask in zip(names, masks, strict=True):
        shape = tuple(request.parameters[name])
        dense = Entry(shape, partial(torch.ones, shape, dtype=torch.bool))
        entries[name] = dense if mask is None else mask_entry(mask, content, name)
    return Reading(entries, ordered=True)


def _fit(masks: Sequence[torch.Tensor | None], request: Request) -> list[str] | None:
    try:
        return in_order([_shape(mask) for mask in masks], request.parameters or {})
    except MaskError:
        return None


def _shape(mask: torch.Tensor | None) -> Shape | None:
    return None if mask is None else tuple(mask.shape)


def _is_list(raw: Any) -> bool:
    masks = isinstance(raw, list) and all(mask is None or isinstance(mask, torch.Tensor) for mask in raw)
    return masks and any(mask is not None for mask in raw)


LISTED = Form(
    "list", "masks without names, in order: npz, npy, lists of torch.save", lambda content: _is_list(content.raw), read
)


_RIGL = "backward_masks"


def _backward_masks(content: Content) -> list[torch.Tensor | None]:
    """The list, in the scheduler's own state dict or one level down in a training checkpoint."""
    raw = content.raw if isinstance(content.raw, Mapping) else {}
    for table in (raw, *(value for value in raw.values() if isinstance(value, Mapping))):
        masks = table.get(_RIGL)
        if isinstance(masks, list) and masks and all(m is None or isinstance(m, torch.Tensor) for m in masks):
            return masks
    return []


def _model_beside(content: Content) -> dict[str, Shape] | None:
    """Names and shapes of the state dict in the same file: the order of the model's layers."""
    if not isinstance(content.raw, Mapping) or _RIGL in content.raw:
        return None
    state, _ = unwrap(content.raw, content.place)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    plain = strip_wrappers(name for name in tensors if isinstance(name, str))
    return {plain[name]: tuple(tensors[name].shape) for name in plain} or None


def _read_rigl(content: Content, request: Request) -> Reading:
    known = request if request.parameters else replace(request, parameters=_model_beside(content))
    return ordered_reading(_backward_masks(content), content, known, other_layout=False)


RIGL = Form("rigl", "rigl-torch: backward_masks, a list in layer order", _backward_masks, _read_rigl)

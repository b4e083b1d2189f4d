"""Masks in a list, without names: npz and npy files, lists of torch.save. In torch's layout, or in Keras' where only
that fits; matched by order, and only when asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Entry, Form, Reading, mask_entry
from graphsparse.checkpoints.forms.layouts import to_torch
from graphsparse.checkpoints.names import in_order, shown
from graphsparse.errors import MaskError


def read(content: Content, request: Request) -> Reading:
    masks = list(content.raw) if _is_list(content.raw) else []
    return ordered_reading(masks, content, request, other_layout=not request.named)


def read_keras(content: Content, request: Request) -> Reading:
    """Reads a list of arrays in Keras' layout, whatever else would fit."""
    masks = [None if mask is None else to_torch(mask) for mask in content.raw]
    return ordered_reading(masks, content, request, other_layout=False)


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
    if names and turned_names and any(mask is not None and mask.dim() > 1 for mask in masks):
        raise MaskError(
            "a list of masks must fit in one layout", place=content.place, received="both torch's (out, in, ...) and "
            "Keras' (..., in, out) fit", way_out="name form='list' or form='keras'",
        )  # fmt: skip
    if not names and turned_names:
        masks, names = turned, turned_names
    names = names or in_order([_shape(mask) for mask in masks], request.parameters)
    entries = {
        name: _entry(mask, content, name, request.parameters[name]) for name, mask in zip(names, masks, strict=True)
    }
    return Reading(entries, ordered=True)


def _fit(masks: Sequence[torch.Tensor | None], request: Request) -> list[str] | None:
    try:
        return in_order([_shape(mask) for mask in masks], request.parameters or {})
    except MaskError:
        return None


def _entry(mask: torch.Tensor | None, content: Content, name: str, shape: tuple[int, ...]) -> Entry:
    if mask is None:  # a dense layer
        return Entry(tuple(shape), lambda: torch.ones(tuple(shape), dtype=torch.bool))
    return mask_entry(mask, content, name)


def _shape(mask: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if mask is None else tuple(mask.shape)


def _is_list(raw: object) -> bool:
    if not isinstance(raw, list) or not raw:
        return False
    return all(mask is None or isinstance(mask, torch.Tensor) for mask in raw) and any(m is not None for m in raw)


LISTED = Form(
    "list", "masks without names, in order: npz, npy, lists of torch.save", lambda content: _is_list(content.raw), read
)

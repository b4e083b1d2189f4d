"""Compressed sparse rows in an npz: ``X.indptr``, ``X.indices``, ``X.data`` and ``X.shape`` of each parameter.

A parameter is a table of its first axis by all its others (rank 0 and 1: one row), as ``scipy.sparse.csr_array``
takes it: ``csr_array((data, indices, indptr))``. What is stored is kept, a stored zero included. Biases and buffers
stand beside them as plain arrays.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch

from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Entry, Form, Masks, Payload, Reading, Weights, beside, gather
from graphsparse.checkpoints.names import Shape

_PARTS = ("indptr", "indices", "data", "shape")


def _names(content: Content) -> list[str]:
    names = (key.removesuffix(".indptr") for key in content.tensors if key.endswith(".indptr"))
    return [name for name in names if all(f"{name}.{part}" in content.tensors for part in _PARTS)]


def read(content: Content, request: Request) -> Reading:
    names = _names(content)
    keys = {name: f"{name}.indptr" for name in names}
    used = (f"{name}.{part}" for name in names for part in _PARTS)
    return beside(content, {name: _entry(content, name) for name in names}, keys, used)


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the masks as csr blocks, with their weights for data where there are weights, else with True.

    Weights without a mask (biases, buffers) are written as they are, so that the file fits the same model again.
    """
    tensors: dict[str, Pending] = {name: ready(weight) for name, weight in weights.items() if name not in masks}
    for name, mask in masks.items():
        rows, columns = table_shape(mask.shape)
        kept = int(mask.sum())
        index_type = torch.int32 if max(columns, kept) < 1 << 31 else torch.int64
        weight = weights.get(name, mask)
        parts = {
            "indptr": Pending((rows + 1,), index_type, partial(_indptr, mask, index_type)),
            "indices": Pending((kept,), index_type, partial(_indices, mask, index_type)),
            "data": Pending((kept,), weight.dtype, partial(gather, weight, mask)),
            "shape": ready(torch.tensor(mask.shape, dtype=torch.int64)),
        }
        tensors.update({f"{name}.{part}": pending for part, pending in parts.items()})
    return Payload(tensors)


def _entry(content: Content, name: str) -> Entry:
    place = content.named(name)
    indptr, indices, data, declared = (content.tensors[f"{name}.{part}"] for part in _PARTS)
    shape = _shape(declared, place)
    content.unfolding.add(shape, place)
    _check(indptr, indices, data, shape, place)

    def dense(values: torch.Tensor) -> torch.Tensor:
        rows, columns = table_shape(shape)
        row = torch.repeat_interleave(torch.arange(rows), indptr.long().diff())
        table = torch.zeros(rows * columns, dtype=values.dtype)
        table[row * columns + indices.long()] = values
        return table.reshape(shape)

    return Entry(
        shape, lambda: dense(torch.ones(data.shape, dtype=torch.bool)), (indptr, indices, data),
        None if data.dtype == torch.bool else (lambda: dense(data)),
    )  # fmt: skip


def _shape(declared: torch.Tensor, place: str) -> Shape:
    whole = not declared.is_floating_point() and declared.dim() == 1 and declared.numel() <= 64
    check(whole and bool((declared >= 0).all()), "a csr block must have a shape", place)
    return tuple(int(size) for size in declared)


def _check(indptr: torch.Tensor, indices: torch.Tensor, data: torch.Tensor, shape: Shape, place: str) -> None:
    rows, columns = table_shape(shape)
    whole = not indptr.is_floating_point() and not indices.is_floating_point()
    fits = whole and indptr.shape == (rows + 1,) and indices.dim() == 1 and data.shape == indices.shape
    if fits:
        steps, places = indptr.long(), indices.long()
        fits = int(steps[0]) == 0 and int(steps[-1]) == len(places) and bool((steps.diff() >= 0).all())
        fits = fits and bool(((places >= 0) & (places < columns)).all()) and len(places) <= math.prod(shape)
    check(fits, "indptr must rise from 0 to the number of entries, and indices must lie in their row", place)


def table_shape(shape: Shape) -> tuple[int, int]:
    """(rows, columns) of a tensor that is read as a table: its first axis, and all the others flattened."""
    return (1, math.prod(shape)) if len(shape) < 2 else (int(shape[0]), math.prod(shape[1:]))


def _indptr(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    rows, columns = table_shape(mask.shape)
    counts = mask.reshape(rows, columns).sum(dim=1) if columns else torch.zeros(rows, dtype=torch.int64)
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]).to(dtype)


def _indices(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    rows, columns = table_shape(mask.shape)
    return torch.from_numpy(np.nonzero(mask.contiguous().numpy().reshape(rows, columns))[1]).to(dtype)


CSR = Form("csr", "csr blocks in npz: X.indptr, X.indices, X.data, X.shape", _names, read, write, ("npz",))

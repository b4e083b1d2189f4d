"""Weights without masks, of state dicts and exported programs: what is zero is pruned, or not stored in sparse ones."""

from __future__ import annotations

import json
import warnings
from functools import partial

import torch

from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.checks import compressed_indices, nonzero, stored_values
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import (
    LISTED_AS,
    Entry,
    Form,
    Masks,
    Payload,
    Reading,
    Weights,
    beside,
    zeros_reading,
)


class ReadsAsPruned(UserWarning):
    """Kept weights are exactly zero: where the zeros are the mask they are pruned for whoever reads the file."""


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the weights with zeros where the masks prune; a NaN that is pruned becomes zero too.

    Warns where a kept weight is exactly zero: no reader of this form can tell it from a pruned one.
    """
    tensors = {name: ready(weight) for name, weight in weights.items() if name not in masks}
    for name, mask in masks.items():
        weight = weights[name]
        tensors[name] = Pending(tuple(weight.shape), weight.dtype, partial(zeroed, weight, mask, name))
    return Payload(tensors, {"format": "pt", LISTED_AS: json.dumps(list(masks))})


def zeroed(weight: torch.Tensor, mask: torch.Tensor, name: str) -> torch.Tensor:
    """Returns the weight with zeros where the mask is False, every other value as it is."""
    lost = int((mask & ~nonzero(weight)).sum())
    if lost:
        text = f"{name}: {lost:,} kept connections are exactly zero and will read as pruned"
        warnings.warn(text, ReadsAsPruned, stacklevel=2)
    return torch.where(mask, weight, torch.zeros((), dtype=weight.dtype))


ZEROS = Form(
    "zeros", "weights whose zeros are the mask: state dicts, safetensors, pt2",
    lambda content: content.tensors, lambda content, _: zeros_reading(content, content.tensors),
    write, ("safetensors", "torch"), needs_weights=True,
)  # fmt: skip


# Blocked layouts store whole blocks; in those the non-zeros are kept. Elsewhere what is stored is kept, zeros included.
_BLOCKED = {torch.sparse_bsr, torch.sparse_bsc}


def _sparse(content: Content) -> list[str]:
    return [name for name, tensor in content.tensors.items() if tensor.layout != torch.strided]


def _read_sparse(content: Content, request: Request) -> Reading:
    sparse = _sparse(content)
    return beside(content, {name: _entry(content, name) for name in sparse}, {}, sparse)


def _entry(content: Content, name: str) -> Entry:
    tensor, place = content.tensors[name], content.named(name)
    content.unfolding.add(tensor.shape, place)

    def pattern() -> torch.Tensor:
        return nonzero(tensor.to_dense()) if tensor.layout in _BLOCKED else _stored(tensor)

    indices = (tensor._indices(),) if tensor.layout == torch.sparse_coo else compressed_indices(tensor)
    return Entry(tuple(tensor.shape), pattern, (*indices, stored_values(tensor)), lambda: tensor.to_dense())


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """The dense bool tensor of what is stored."""
    if tensor.layout == torch.sparse_coo:
        stored = torch.zeros(tensor.shape, dtype=torch.bool)
        stored[tuple(tensor._indices())] = True
        return stored
    outer, inner = compressed_indices(tensor)
    ones = torch.ones(tensor.values().shape, dtype=torch.uint8)
    return torch.sparse_compressed_tensor(outer, inner, ones, tensor.shape, layout=tensor.layout).to_dense()


TORCH_SPARSE = Form("torch-sparse", "sparse tensors of torch: COO, CSR, CSC, BSR, BSC", _sparse, _read_sparse)

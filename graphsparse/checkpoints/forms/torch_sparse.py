"""Sparse tensors of torch in a state dict: what is stored is kept, a stored zero included.

Blocked layouts (BSR, BSC) store whole blocks; in those the non-zeros are kept.
"""

from __future__ import annotations

import torch

from graphsparse.checkpoints.checks import compressed_indices, nonzero
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Entry, Form, Reading, beside

_BLOCKED = {torch.sparse_bsr, torch.sparse_bsc}


def _sparse(content: Content) -> list[str]:
    return [name for name, tensor in content.tensors.items() if tensor.layout != torch.strided]


def read(content: Content, request: Request) -> Reading:
    sparse = _sparse(content)
    return beside(content, {name: _entry(content, name) for name in sparse}, {}, sparse)


def _entry(content: Content, name: str) -> Entry:
    tensor, place = content.tensors[name], content.named(name)
    content.unfolding.add(tensor.shape, place)

    def pattern() -> torch.Tensor:
        return nonzero(tensor.to_dense()) if tensor.layout in _BLOCKED else _stored(tensor)

    return Entry(tuple(tensor.shape), pattern, _parts(tensor), lambda: tensor.to_dense())


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """The dense bool tensor of what is stored."""
    if tensor.layout == torch.sparse_coo:
        stored = torch.zeros(tensor.shape, dtype=torch.bool)
        stored[tuple(tensor._indices())] = True
        return stored
    outer, inner = compressed_indices(tensor)
    ones = torch.ones(tensor.values().shape, dtype=torch.uint8)
    return torch.sparse_compressed_tensor(outer, inner, ones, tensor.shape, layout=tensor.layout).to_dense()


def _parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    return (*compressed_indices(tensor), tensor.values())


TORCH_SPARSE = Form("torch-sparse", "sparse tensors of torch: COO, CSR, CSC, BSR, BSC", _sparse, read)

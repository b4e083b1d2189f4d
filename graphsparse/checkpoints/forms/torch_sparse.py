"""Sparse tensors of torch in a state dict: what is stored is kept, a stored zero included.

Blocked layouts (BSR, BSC) store whole blocks; in those the non-zeros are kept.
"""

from __future__ import annotations

import torch

from graphsparse.checkpoints.checks import check_expansion, nonzero
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Entry, Form, Reading, beside
from graphsparse.errors import CheckpointError

_ROWS = {torch.sparse_csr, torch.sparse_bsr}
_COLUMNS = {torch.sparse_csc, torch.sparse_bsc}
_BLOCKED = {torch.sparse_bsr, torch.sparse_bsc}


def _sparse(content: Content) -> list[str]:
    return [name for name, tensor in content.tensors.items() if tensor.layout != torch.strided]


def recognise(content: Content) -> bool:
    return bool(_sparse(content))


def read(content: Content, request: Request) -> Reading:
    sparse = _sparse(content)
    return beside(content, {name: _entry(content, name) for name in sparse}, {}, sparse)


def _entry(content: Content, name: str) -> Entry:
    tensor, place = content.tensors[name], content.named(name)
    check_expansion(tensor.shape, content.file_bytes, place)
    _check_indices(tensor, place)

    def pattern() -> torch.Tensor:
        return nonzero(tensor.to_dense()) if tensor.layout in _BLOCKED else _stored(tensor)

    return Entry(tuple(tensor.shape), pattern, _parts(tensor), lambda: tensor.to_dense())


def _check_indices(tensor: torch.Tensor, place: str) -> None:
    """Raises unless every index lies in the shape; torch itself trusts a file's indices and would write beside it."""
    try:
        if tensor.layout == torch.sparse_coo:
            torch._validate_sparse_coo_tensor_args(tensor._indices(), tensor._values(), tensor.shape)
            return
        outer, inner = _compressed_indices(tensor)
        torch._validate_sparse_compressed_tensor_args(outer, inner, tensor.values(), tensor.shape, tensor.layout)
    except Exception as error:  # torch raises several kinds
        raise CheckpointError(
            "a sparse tensor's indices lie in its shape", place=place, received=str(error).splitlines()[0][:120],
            way_out="the file is damaged: save it again",
        ) from error  # fmt: skip


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """The dense bool tensor of what is stored."""
    if tensor.layout == torch.sparse_coo:
        stored = torch.zeros(tensor.shape, dtype=torch.bool)
        stored[tuple(tensor._indices())] = True
        return stored
    outer, inner = _compressed_indices(tensor)
    ones = torch.ones(tensor.values().shape, dtype=torch.uint8)
    return torch.sparse_compressed_tensor(outer, inner, ones, tensor.shape, layout=tensor.layout).to_dense()


def _compressed_indices(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if tensor.layout in _ROWS:
        return tensor.crow_indices(), tensor.col_indices()
    return tensor.ccol_indices(), tensor.row_indices()


def _parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if tensor.layout == torch.sparse_coo:
        return tensor._indices(), tensor._values()
    return (*_compressed_indices(tensor), tensor.values())


TORCH_SPARSE = Form("torch-sparse", "sparse tensors of torch: COO, CSR, CSC, BSR, BSC", recognise, read)

"""compressed-tensors ``sparse-24-bitmask``: two values of every four, and the bits of where they lie.

``X.shape`` (a column), ``X.compressed`` (rows, columns / 2), ``X.bitmask`` (rows, columns / 8 bytes). A bit is set
for two of every four entries even where fewer are not zero, so a connection is kept where the bit is set and its
value is not zero. Source: compressed_tensors, compressors/sparse_compressors/sparse_24_bitmask.py.
"""

from __future__ import annotations

from functools import partial

import torch

from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.bitmask import (
    PARTS,
    packed_names,
    packed_reading,
    packed_shape,
    scatter,
    unpack_bits,
)
from graphsparse.checkpoints.forms.form import Entry, Form, Reading
from graphsparse.errors import MaskError

_names = partial(packed_names, with_offsets=False)


def read(content: Content, request: Request) -> Reading:
    return packed_reading(content, _names(content), _entry, PARTS)


def _entry(content: Content, prefix: str) -> Entry:
    place, shape = content.named(prefix), packed_shape(content, prefix)
    values, bits = content.tensors[f"{prefix}.compressed"], content.tensors[f"{prefix}.bitmask"]

    def dense() -> torch.Tensor:
        mask = unpack_bits(bits, shape, place)
        if shape[-1] % 4 or bool((mask.reshape(-1, 4).sum(dim=1) != 2).any()) or values.numel() != int(mask.sum()):
            raise MaskError(
                "two of every four entries must have a bit and a value", place=place,
                received=f"{int(mask.sum())} bits for {values.numel()} values",
                way_out="the file is damaged: download or save it again",
            )  # fmt: skip
        return scatter(values, mask)

    return Entry(shape, dense, (values, bits), dense)


BITMASK_24 = Form("sparse-24-bitmask", "compressed-tensors, two of every four: no row_offsets", _names, read)

"""compressed-tensors ``sparse-bitmask``: values, bits little-endian along the last axis, where each row's values begin.

``X.shape``, ``X.compressed`` (the values, one after another), ``X.bitmask`` (uint8, the last axis packed),
``X.row_offsets`` (per row of the last axis, summed along the first). X is the module of a ``weight``; the first
versions, of sparseml, wrote the parameter's full name. The bits are the mask: a value of zero under a bit is kept.
Source: compressed_tensors, compressors/sparse_compressors/sparse_bitmask.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch

from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms import zeros
from graphsparse.checkpoints.forms.form import Entry, Form, Masks, Payload, Reading, Weights, beside
from graphsparse.checkpoints.names import Shape
from graphsparse.errors import CheckpointError, MaskError

PARTS = ("shape", "compressed", "bitmask")
OFFSETS = "row_offsets"
_WAY_OUT = "the file is damaged: download or save it again"


def packed_names(content: Content, *, with_offsets: bool) -> list[str]:
    """The prefixes X of which the file has every part, and row offsets or not."""
    tensors = content.tensors
    names = [key.removesuffix(".bitmask") for key in tensors if key.endswith(".bitmask")]
    whole = [name for name in names if all(f"{name}.{part}" in tensors for part in PARTS)]
    return [name for name in whole if (f"{name}.{OFFSETS}" in tensors) == with_offsets]


_names = partial(packed_names, with_offsets=True)


def read(content: Content, request: Request) -> Reading:
    return packed_reading(content, _names(content), _entry, (*PARTS, OFFSETS))


def packed_reading(
    content: Content, prefixes: list[str], entry: Callable[[Content, str], Entry], parts: Iterable[str]
) -> Reading:
    """The reading of packed weights, by their prefixes, with what stands beside them."""
    entries = {parameter(prefix): entry(content, prefix) for prefix in prefixes}
    keys = {parameter(prefix): f"{prefix}.bitmask" for prefix in prefixes}
    return beside(content, entries, keys, (f"{prefix}.{part}" for prefix in prefixes for part in parts))


def parameter(prefix: str) -> str:
    """The parameter's name; the first versions wrote it in full."""
    return prefix if prefix.rpartition(".")[2] in ("weight", "bias") else f"{prefix}.weight"


def packed_shape(content: Content, prefix: str) -> Shape:
    """The dense shape that the file declares, checked against its bits.

    Raises:
        CheckpointError: the bits are not of that shape, or it unfolds beyond reason.
    """
    place, bits = content.named(prefix), content.tensors[f"{prefix}.bitmask"]
    declared = content.tensors[f"{prefix}.shape"].flatten()
    if declared.is_floating_point() or not 1 <= declared.numel() <= 64 or bits.dtype != torch.uint8:
        raise CheckpointError("a packed weight must have a shape, and bits in bytes", place=place, way_out=_WAY_OUT)
    shape = tuple(int(size) for size in declared)
    if min(shape) < 0 or tuple(bits.shape) != (*shape[:-1], -(-shape[-1] // 8)):
        raise CheckpointError(
            "a packed weight must have one bit per entry", place=place,
            received=f"bits {tuple(bits.shape)} for a shape of {shape}", way_out=_WAY_OUT,
        )  # fmt: skip
    content.unfolding.add(shape, place)
    return shape


def unpack_bits(bits: torch.Tensor, shape: Shape, place: str) -> torch.Tensor:
    """Returns the bool tensor whose last axis the bits are, the lowest bit first."""
    if 0 in shape:
        return torch.zeros(shape, dtype=torch.bool)
    unpacked = np.unpackbits(bits.contiguous().numpy(), axis=-1, bitorder="little").view(bool)
    if unpacked[..., shape[-1] :].any():
        raise MaskError("the bits beyond a row's end must be 0", place=place, way_out=_WAY_OUT)
    return torch.from_numpy(np.ascontiguousarray(unpacked[..., : shape[-1]]))


def scatter(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns the dense tensor with the values where the mask is True, in order, and zeros elsewhere."""
    as_bytes = values.dtype.itemsize == 1  # float8 has no masked assignment
    source = values.flatten().view(torch.uint8) if as_bytes else values.flatten()
    dense = torch.zeros(mask.shape, dtype=source.dtype)
    dense[mask] = source
    return dense.view(values.dtype) if as_bytes else dense


def _entry(content: Content, prefix: str) -> Entry:
    place, shape = content.named(prefix), packed_shape(content, prefix)
    values, bits, offsets = (content.tensors[f"{prefix}.{part}"] for part in ("compressed", "bitmask", OFFSETS))

    def pattern() -> torch.Tensor:
        mask = unpack_bits(bits, shape, place)
        if values.numel() != int(mask.sum()) or not torch.equal(offsets.to(torch.int64), _row_offsets(mask)):
            raise MaskError(
                "bits, values and row offsets must agree", place=place,
                received=f"{int(mask.sum())} bits for {values.numel()} values", way_out=_WAY_OUT,
            )  # fmt: skip
        return mask

    return Entry(shape, pattern, (values, bits, offsets), lambda: scatter(values, pattern()))


def _row_offsets(mask: torch.Tensor) -> torch.Tensor:
    counts = mask.sum(dim=-1)
    return counts if counts.dim() == 0 else torch.cumsum(counts, 0) - counts


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes masked weights of rank 1 and more packed, under their module's name; everything else as it is.

    What the form cannot pack (rank 0, parameters not called weight) is zeroed where masked, and listed.
    """
    unpacked = [name for name in masks if weights[name].dim() == 0 or name.rpartition(".")[2] != "weight"]
    zeroed_ones = zeros.write({name: masks[name] for name in unpacked}, {name: weights[name] for name in unpacked})
    tensors = dict(zeroed_ones.tensors)
    for name, weight in weights.items():
        if name not in masks:
            tensors[name] = ready(weight)
        elif name not in unpacked:
            tensors.update(_packed(name.rpartition(".weight")[0] or name, masks[name], weight))
    return Payload(tensors, zeroed_ones.metadata)


def _packed(prefix: str, mask: torch.Tensor, weight: torch.Tensor) -> dict[str, Pending]:
    shape = tuple(weight.shape)
    bits_shape, rows = (*shape[:-1], -(-shape[-1] // 8)), shape[:-1]
    return {
        f"{prefix}.shape": ready(torch.tensor(shape, dtype=torch.int64)),
        f"{prefix}.compressed": Pending((int(mask.sum()),), weight.dtype, lambda: _gather(weight, mask)),
        f"{prefix}.bitmask": Pending(bits_shape, torch.uint8, lambda: _pack_bits(mask, bits_shape)),
        f"{prefix}.{OFFSETS}": Pending(rows, torch.int64, lambda: _row_offsets(mask)),
    }


def _gather(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    source = weight.contiguous().view(torch.uint8) if weight.dtype.itemsize == 1 else weight
    return source[mask].view(weight.dtype)


def _pack_bits(mask: torch.Tensor, shape: Shape) -> torch.Tensor:
    if 0 in shape:
        return torch.zeros(shape, dtype=torch.uint8)
    return torch.from_numpy(np.packbits(mask.contiguous().numpy(), axis=-1, bitorder="little"))


BITMASK = Form(
    "sparse-bitmask", "compressed-tensors: X.shape, X.compressed, X.bitmask, X.row_offsets", _names, read, write,
    ("safetensors",), needs_weights=True,
)  # fmt: skip

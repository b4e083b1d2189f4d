"""compressed-tensors ``sparse-bitmask`` and ``sparse-24-bitmask``: values, and the bits of where they lie.

``X.shape``, ``X.compressed`` (the values, one after another), ``X.bitmask`` (uint8, the last axis packed, the lowest
bit first) and, in the first form, ``X.row_offsets`` (where the values of each row of the last axis begin, summed along
the first axis). X is the module of a ``weight``; the first versions, of sparseml, wrote the parameter's full name. The
bits are the mask: a value of zero under a bit is kept.

The second form has no row offsets. It has bits and values for two of every four entries even where fewer are not zero,
so a connection is kept where its bit is set and its value is not zero.
Source: compressed_tensors, compressors/sparse_compressors, sparse_bitmask.py and sparse_24_bitmask.py.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms import zeros
from graphsparse.checkpoints.forms.form import Entry, Form, Masks, Payload, Reading, Weights, beside, gather
from graphsparse.checkpoints.names import Shape
from graphsparse.errors import MaskError

_PARTS = ("shape", "compressed", "bitmask")
_OFFSETS = "row_offsets"


def _prefixes(content: Content, *, with_offsets: bool) -> list[str]:
    """The prefixes X of which the file has every part, and row offsets or not."""
    tensors = content.tensors
    prefixes = [key.removesuffix(".bitmask") for key in tensors if key.endswith(".bitmask")]
    whole = [prefix for prefix in prefixes if all(f"{prefix}.{part}" in tensors for part in _PARTS)]
    return [prefix for prefix in whole if (f"{prefix}.{_OFFSETS}" in tensors) == with_offsets]


def _read(content: Content, request: Request, *, with_offsets: bool) -> Reading:
    prefixes = _prefixes(content, with_offsets=with_offsets)
    entries = {_parameter(prefix): _entry(content, prefix, with_offsets) for prefix in prefixes}
    keys = {_parameter(prefix): f"{prefix}.bitmask" for prefix in prefixes}
    used = (f"{prefix}.{part}" for prefix in prefixes for part in (*_PARTS, _OFFSETS))
    return beside(content, entries, keys, used)


def _parameter(prefix: str) -> str:
    """The parameter's name; the first versions wrote it in full."""
    return prefix if prefix.rpartition(".")[2] in ("weight", "bias") else f"{prefix}.weight"


def _shape(content: Content, prefix: str) -> Shape:
    """The dense shape that the file declares, checked against its bits and counted."""
    place, bits = content.named(prefix), content.tensors[f"{prefix}.bitmask"]
    declared = content.tensors[f"{prefix}.shape"].flatten()
    typed = not declared.is_floating_point() and 1 <= declared.numel() <= 64 and bits.dtype == torch.uint8
    check(typed, "a packed weight must have a shape, and bits in bytes", place)
    shape = tuple(int(size) for size in declared)
    fits = min(shape) >= 0 and tuple(bits.shape) == (*shape[:-1], -(-shape[-1] // 8))
    received = f"bits {tuple(bits.shape)} for a shape of {shape}"
    check(fits, "a packed weight must have one bit per entry", place, received)
    content.unfolding.add(shape, place)
    return shape


def _unpack_bits(bits: torch.Tensor, shape: Shape, place: str) -> torch.Tensor:
    """Returns the bool tensor whose last axis the bits are, the lowest bit first."""
    if 0 in shape:
        return torch.zeros(shape, dtype=torch.bool)
    unpacked = np.unpackbits(bits.contiguous().numpy(), axis=-1, bitorder="little").view(bool)
    check(not unpacked[..., shape[-1] :].any(), "the bits beyond a row's end must be 0", place, error=MaskError)
    return torch.from_numpy(np.ascontiguousarray(unpacked[..., : shape[-1]]))


def _scatter(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Returns the dense tensor with the values where the mask is True, in order, and zeros elsewhere."""
    as_bytes = values.dtype.itemsize == 1  # float8 has no masked assignment
    source = values.flatten().view(torch.uint8) if as_bytes else values.flatten()
    dense = torch.zeros(mask.shape, dtype=source.dtype)
    dense[mask] = source
    return dense.view(values.dtype) if as_bytes else dense


def _entry(content: Content, prefix: str, with_offsets: bool) -> Entry:
    place, shape = content.named(prefix), _shape(content, prefix)
    parts = ("compressed", "bitmask", *([_OFFSETS] if with_offsets else []))
    values, bits, *offsets = sources = tuple(content.tensors[f"{prefix}.{part}"] for part in parts)

    def pattern() -> torch.Tensor:
        mask = _unpack_bits(bits, shape, place)
        if with_offsets:
            rule = "bits, values and row offsets must agree"
            agree = torch.equal(offsets[0].to(torch.int64), _row_offsets(mask))
        else:
            rule = "two of every four entries must have a bit and a value"
            agree = shape[-1] % 4 == 0 and bool((mask.reshape(-1, 4).sum(dim=1) == 2).all())
        received = f"{int(mask.sum())} bits for {values.numel()} values"
        check(agree and values.numel() == int(mask.sum()), rule, place, received, error=MaskError)
        return mask

    def dense() -> torch.Tensor:
        return _scatter(values, pattern())

    return Entry(shape, pattern if with_offsets else dense, sources, dense)


def _row_offsets(mask: torch.Tensor) -> torch.Tensor:
    counts = mask.sum(dim=-1)
    return counts if counts.dim() == 0 else torch.cumsum(counts, 0) - counts


def _write(masks: Masks, weights: Weights) -> Payload:
    """Writes masked weights of rank 1 and more packed, under their module's name; everything else as it is.

    What the form cannot pack (rank 0, parameters not called weight) is zeroed where masked, and listed.
    """
    unpacked = {name: m for name, m in masks.items() if m.dim() == 0 or name.rpartition(".")[2] != "weight"}
    zeroed_ones = zeros.write(unpacked, {name: weights[name] for name in unpacked})
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
        f"{prefix}.compressed": Pending((int(mask.sum()),), weight.dtype, partial(gather, weight, mask)),
        f"{prefix}.bitmask": Pending(bits_shape, torch.uint8, partial(_pack_bits, mask, bits_shape)),
        f"{prefix}.{_OFFSETS}": Pending(rows, torch.int64, partial(_row_offsets, mask)),
    }


def _pack_bits(mask: torch.Tensor, shape: Shape) -> torch.Tensor:
    if 0 in shape:
        return torch.zeros(shape, dtype=torch.uint8)
    return torch.from_numpy(np.packbits(mask.contiguous().numpy(), axis=-1, bitorder="little"))


BITMASK = Form(
    "sparse-bitmask", "compressed-tensors: X.shape, X.compressed, X.bitmask, X.row_offsets",
    partial(_prefixes, with_offsets=True), partial(_read, with_offsets=True),
    _write, ("safetensors",), needs_weights=True,
)  # fmt: skip
BITMASK_24 = Form(
    "sparse-24-bitmask", "compressed-tensors, two of every four: no row_offsets",
    partial(_prefixes, with_offsets=False), partial(_read, with_offsets=False),
)  # fmt: skip

"""Masks alone in a safetensors file: one bit per entry, an eighth of what bools take, and a header that says so.

Each tensor is uint8: the mask flattened, row after row, the first entry the lowest bit of the first byte, the last
byte filled up with zeros. The header's metadata holds ``format: graphsparse-masks`` and, under ``masks``, JSON
{name: {"shape": [...], "kept": count, "crc32": of the bytes}}, so that a flipped bit is seen.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.pending import ready
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.checks import naturals
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.forms.form import Entry, Form, Masks, Payload, Reading, Weights
from graphsparse.checkpoints.names import Shape
from graphsparse.errors import MaskError
from graphsparse.kernels.masks import Mask, unpack, word_count

MARK = "graphsparse-masks"


def recognise(content: Content) -> bool:
    return content.metadata.get("format") == MARK


def read(content: Content, request: Request) -> Reading:
    """Reads the masks that the header lists. Raises where the tensors are others, or of other sizes."""
    check(recognise(content), "a file of masks must be marked as one", content.place, way_out="name another form")
    listed = read_object(content.metadata.get("masks", "").encode(), content.place)
    there = content.raw if isinstance(content.raw, Mapping) else {}
    same, received = listed.keys() == there.keys(), f"{len(listed)} listed, {len(there)} there"
    check(same, "the header must list the masks of the file", content.place, received)
    names = {content.written.get(name, name): name for name in content.tensors}
    entries = {names[own]: _entry(content, names[own], about) for own, about in listed.items() if own in names}
    return Reading(entries, {}, content.ignored)


def write(masks: Masks, weights: Weights) -> Payload:
    """Writes the masks as bits, with their shapes, counts and check sums in the header."""
    flat = ((name, mask.numpy().reshape(-1)) for name, mask in masks.items())
    packed = {name: torch.from_numpy(np.packbits(mask, bitorder="little")) for name, mask in flat}
    about = {
        name: {"shape": list(mask.shape), "kept": int(mask.sum()), "crc32": _checksum(packed[name])}
        for name, mask in masks.items()
    }
    tensors = {name: ready(octets) for name, octets in packed.items()}
    return Payload(tensors, {"format": MARK, "masks": json.dumps(about, separators=(",", ":"))})


def _entry(content: Content, name: str, about: object) -> Entry:
    octets, place = content.tensors[name], content.named(name)
    shape, kept, crc = _described(about, place)
    fits = octets.dtype == torch.uint8 and octets.dim() == 1 and octets.numel() == -(-math.prod(shape) // 8)
    check(fits, "a mask must have one bit per entry", place, f"{octets.numel()} bytes for {shape}")
    content.unfolding.add(shape, place)

    def words() -> np.ndarray:
        size, filled = math.prod(shape), np.zeros(8 * word_count(math.prod(shape)), np.uint8)
        filled[: octets.numel()] = octets.numpy()
        beyond = size % 8 and filled[octets.numel() - 1] >> size % 8
        check(not beyond, "the bits beyond a mask's last entry must be 0", place, error=MaskError)
        found = filled.view("<u8").astype(np.uint64, copy=False)
        same = _checksum(octets) == crc and Mask(shape, found).count() == kept
        check(same, "a mask must have the bits that it was written with", place, error=MaskError)
        return found

    return Entry(shape, lambda: torch.from_numpy(unpack(words(), shape)), (octets,), words=words)


def _described(about: Any, place: str) -> tuple[Shape, int, int]:
    given: Mapping[str, Any] = about if isinstance(about, dict) else {}
    shape: Any = given.get("shape")
    kept: Any = given.get("kept")
    crc: Any = given.get("crc32")
    described = naturals(shape) and naturals([kept, crc]) and len(shape) <= 64
    check(described, "the header must give a mask's shape, count and check sum", place)
    return tuple(shape), kept, crc


def _checksum(octets: torch.Tensor) -> int:
    return zlib.crc32(cast(Any, octets.numpy()))


BITS = Form("bits", "masks alone, one bit per entry, in safetensors", recognise, read, write, ("safetensors",))

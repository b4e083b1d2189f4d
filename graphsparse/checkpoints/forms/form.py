"""What a form of masks is: how its files are known, read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from graphsparse.checkpoints.archives.json_text import read_object
from graphsparse.checkpoints.archives.pending import Pending, ready
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.checks import check_binary, check_same_shape, in_parts, nonzero
from graphsparse.checkpoints.content import Content, Request
from graphsparse.checkpoints.names import Shape
from graphsparse.errors import MaskError

# Buffers that batch normalisation keeps: no parameters, and a zero in them is a number like any other.
_BUFFERS = {"running_mean", "running_var", "num_batches_tracked"}

LISTED_AS = "graphsparse.masked"  # in a file's metadata: JSON list of the parameters whose zeros are masks


@dataclass(frozen=True, eq=False)
class Entry:
    """One parameter's mask, not yet read.

    Attributes:
        shape: the parameter's shape.
        pattern: makes a tensor of that shape whose non-zeros are the kept connections.
        sources: the file's tensors that it is made from.
        weight: makes the weight itself; None where the file has only masks.
        words: makes the pattern as the words of a `Mask`, where the file holds bits.
        by_zeros: whether the file has no mask there, so that what is not zero in the weight is taken as kept.
    """

    shape: Shape
    pattern: Callable[[], torch.Tensor]
    sources: tuple[torch.Tensor, ...] = ()
    weight: Callable[[], torch.Tensor] | None = None
    words: Callable[[], np.ndarray] | None = None
    by_zeros: bool = False


@dataclass(frozen=True, eq=False)
class Reading:
    """What a form finds in a file.

    Attributes:
        entries: {parameter: its mask}.
        others: {name: makes the tensor} of tensors that are neither masks nor masked (buffers).
        ignored: {name in the file: why}.
        ordered: whether the names are the model's own, given to the entries in order.
    """

    entries: Mapping[str, Entry]
    others: Mapping[str, Callable[[], torch.Tensor]] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = False


@dataclass(frozen=True, eq=False)
class Payload:
    """What a form writes."""

    tensors: Mapping[str, Pending]
    metadata: Mapping[str, str] = field(default_factory=dict)


Masks = Mapping[str, torch.Tensor]
Weights = Mapping[str, torch.Tensor]
Masked = Mapping[str, tuple[str, str | None]]
"""{parameter: (key of its mask, key of its weight or None)}, of one file."""


@dataclass(frozen=True, eq=False)
class Form:
    """One form of masks: a row of the table.

    Attributes:
        name: how users call it.
        about: one line for lists of forms.
        recognise: what a file's content has of this form's signs; nothing, or False, where it is of another form.
        read: the masks in it.
        write: the tensors of a file of this form, from masks and (None: without) weights; None where the form is
            only read.
        containers: the kinds of file that it may be written to, the usual one first.
        needs_weights: whether a file of this form holds weights too.
    """

    name: str
    about: str
    recognise: Callable[[Content], object]
    read: Callable[[Content, Request], Reading]
    write: Callable[[Masks, Weights], Payload] | None = None
    containers: tuple[str, ...] = ()
    needs_weights: bool = False


def zeros_entry(tensor: torch.Tensor, content: Content, name: str) -> Entry:
    """The entry of a weight whose zeros are its mask."""
    content.unfolding.add(tensor.shape, content.named(name))
    return Entry(tuple(tensor.shape), lambda: tensor, (tensor,), lambda: tensor, by_zeros=True)


def mask_entry(
    mask: torch.Tensor,
    content: Content,
    name: str,
    weight: torch.Tensor | None = None,
    kept: Callable[[torch.Tensor, str], torch.Tensor] = check_binary,
) -> Entry:
    """The entry of a mask, beside its weight where the file has it.

    ``kept`` makes what is not zero for kept connections of the mask and its place; a mask is zeros and ones by default.

    Raises:
        MaskError: the shapes differ (now), or the mask holds other values than 0 and 1 (when it is read).
    """
    place = content.named(name)
    content.unfolding.add(mask.shape, place)
    dense = mask.layout == torch.strided
    check(dense, "a mask must be a dense tensor", place, mask.layout, "save mask.to_dense()", MaskError)
    if weight is None:
        return Entry(tuple(mask.shape), lambda: kept(mask, place), (mask,))
    check_same_shape(mask.shape, weight.shape, place)
    return Entry(tuple(mask.shape), lambda: kept(mask, place), (mask, weight), lambda: weight)


def masked_reading(content: Content, masked: Masked) -> Reading:
    """The reading of a state dict with masks in it, in the file's order (which a chain of layers goes by).

    All weights that are not in ``masked`` are masked by their zeros.
    """
    tensors = content.tensors
    entries = {
        name: mask_entry(tensors[mask], content, mask, None if weight is None else tensors[weight])
        for name, (mask, weight) in masked.items()
    }
    keys = {name: (mask if weight is None else weight) for name, (mask, weight) in masked.items()}
    return beside(content, entries, keys, (key for pair in masked.values() for key in pair if key is not None))


def renamed(reading: Reading, rename: Callable[[str], str]) -> Reading:
    """The reading under other names of parameters and buffers."""
    entries = {rename(name): entry for name, entry in reading.entries.items()}
    return replace(reading, entries=entries, others={rename(name): make for name, make in reading.others.items()})


def masked_form(
    name: str, about: str, masked: Callable[[Content], Masked], rename: Callable[[str], str] = str, **written: Any
) -> Form:
    """The form of state dicts that have masks under keys of their own: a file is of this form if ``masked`` finds one.

    ``rename`` gives the parameter's name for what the file calls it; ``written`` is as for `Form`.
    """

    def read(content: Content, request: Request) -> Reading:
        return renamed(masked_reading(content, masked(content)), rename)

    return Form(name, about, masked, read, **written)


def masks_beside(masks: Masks, weights: Weights, keys: Callable[[str], tuple[str, str]]) -> Payload:
    """What is written where each mask stands beside its weight, in the weight's type.

    ``keys`` gives the key of a parameter's mask, and that of its weight.
    """
    tensors = {}
    for name, weight in weights.items():
        if name in masks:
            mask_key, weight_key = keys(name)
            tensors[weight_key] = ready(weight)
            tensors[mask_key] = Pending(tuple(weight.shape), weight.dtype, partial(masks[name].to, weight.dtype))
        else:
            tensors[name] = ready(weight)
    return Payload(tensors, {"format": "pt"})


def gather(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The weights of the kept connections, row after row."""
    if weight.dtype.is_floating_point and weight.dtype.itemsize == 1:  # float8 has no masked selection
        return weight.contiguous().view(torch.uint8)[mask].view(weight.dtype)
    if weight.dtype == torch.complex32:  # nor has half-precision complex
        return weight.resolve_conj().contiguous().view(torch.int32)[mask].view(weight.dtype)
    return weight[mask]


def beside(content: Content, entries: Mapping[str, Entry], keys: Mapping[str, str], used: Iterable[str]) -> Reading:
    """The entries together with those of the plain weights in the same file, in the file's order.

    Args:
        content: the file.
        entries: {parameter: mask} that the form has read.
        keys: {parameter: the key of the file whose place it takes}, where that is not the parameter's name.
        used: the file's keys that are read already.
    """
    taken = set(used)
    rest = zeros_reading(content, (key for key in content.tensors if key not in taken))
    clash = sorted(entries.keys() & rest.entries.keys())
    check(not clash, "a parameter must have one weight", content.place, f"two of {', '.join(clash[:4])}",
          "save the state dict of one model", MaskError)  # fmt: skip
    places = {key: place for place, key in enumerate(content.tensors)}
    both = {**entries, **rest.entries}
    ordered = sorted(both, key=lambda name: places[keys.get(name, name)])
    return Reading({name: both[name] for name in ordered}, rest.others, rest.ignored)


def zeros_reading(content: Content, names: Iterable[str]) -> Reading:
    """The reading of plain weights, whose zeros are their masks.

    These are kernels (rank 2 and more), what the file lists as masked, and a scale that has a zero. Biases and buffers
    have no mask: a zero there is a number like any other.
    """
    tensors = {name: content.tensors[name] for name in names if content.tensors[name].layout == torch.strided}
    floats = any(_may_be_weight(tensor) for tensor in content.tensors.values())
    listed = _listed(content)
    weights = [
        name
        for name, tensor in tensors.items()
        if name in listed or ((_may_be_weight(tensor) or not floats) and _is_masked_by_zeros(name, tensor))
    ]
    entries = {name: zeros_entry(tensors[name], content, name) for name in weights}
    others = {name: (lambda tensor=tensor: tensor) for name, tensor in tensors.items() if name not in entries}
    unmasked = dict.fromkeys(others, "a buffer, a bias or a scale: no connections")
    return Reading(entries, others, {**content.ignored, **unmasked})


def _listed(content: Content) -> frozenset[str]:
    """The parameters that a file of our own lists as masked."""
    text = content.metadata.get(LISTED_AS) or "[]"
    names: Any = read_object(b'{"names": ' + text.encode() + b"}", content.place).get("names")
    listed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    check(listed, "a list of names must hold names only", content.place, type(names).__name__)
    return frozenset(names)


def _may_be_weight(tensor: torch.Tensor) -> bool:
    """Whether the dtype is one that weights have; other integers are counters and indices."""
    return tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.int8


def _is_masked_by_zeros(name: str, tensor: torch.Tensor) -> bool:
    last = name.rpartition(".")[2]
    if last in _BUFFERS or tensor.dim() > 1:
        return last not in _BUFFERS
    return not last.endswith("bias") and not all(bool(nonzero(part).all()) for part in in_parts(tensor))

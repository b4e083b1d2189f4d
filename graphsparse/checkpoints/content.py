"""What a file says before any form is read into it: wrappers unpacked, names plain, everything else listed."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from graphsparse.checkpoints.archives.mapped import Archive
from graphsparse.checkpoints.archives.numpy_file import to_tensor
from graphsparse.checkpoints.boundary import check
from graphsparse.checkpoints.checks import Unfolding, check_sparse
from graphsparse.checkpoints.names import Shape, shown, strip_wrappers
from graphsparse.errors import CheckpointError

WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
_DEEPEST = 8
_LONGEST_NAME = 1 << 20


@dataclass(frozen=True)
class Part:
    """Which tensors of a file are meant, where it holds more than one model's.

    Attributes:
        key: the entry of the file that holds the state dict; "a/b" is the entry b of the entry a.
        ignore: patterns of names to leave out, as for `fnmatch`.
        prefix: take only the names that begin so, and leave that beginning out.
    """

    key: str | None = None
    ignore: tuple[str, ...] = ()
    prefix: str | None = None

    @classmethod
    def of(cls, key: str | None = None, ignore: str | Iterable[str] = (), prefix: str | None = None) -> Part:
        """The part that a user's arguments say; one pattern may stand alone."""
        patterns = (ignore,) if isinstance(ignore, str) or not isinstance(ignore, Iterable) else tuple(ignore)
        for name, value in (("key", key), ("prefix", prefix), *(("ignore", each) for each in patterns)):
            text = isinstance(value, str) or (value is None and name != "ignore")
            check(text, f"{name} must be text", None, repr(value)[:80], f"for example {name}={_EXAMPLES[name]!r}")
        return cls(key, patterns, prefix)


WHOLE = Part()
_EXAMPLES = {"key": "model_ema", "prefix": "net.", "ignore": "criterion.*"}


@dataclass(frozen=True, eq=False)
class Content:
    """A file's tensors by plain name.

    Attributes:
        place: the file, for messages.
        raw: all of the content, as nested, arrays made tensors.
        tensors: the state dict in it, wrappers unpacked and names stripped of what wrappers add.
        metadata: text beside the tensors.
        ignored: {name: why} of what is no tensor, or was to be left out.
        notes: which of several state dicts was taken.
        written: {plain name: the name in the file} of the tensors where they differ.
        unfolding: the elements of the tensors that were asked for so far.
    """

    place: str
    raw: Any
    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    unfolding: Unfolding = field(default_factory=Unfolding)

    def named(self, name: str) -> str:
        """A tensor's place, for messages."""
        return f"{name} in {self.place}"


@dataclass(frozen=True)
class Request:
    """What the caller knows of the model and of the file.

    Attributes:
        parameters: {name: shape}, or None where no model was given.
        by_order: whether masks may be matched by their order alone.
        named: whether the caller named the form, so that nothing is left to be told from the content.
    """

    parameters: Mapping[str, Shape] | None = None
    by_order: bool = False
    named: bool = False


def look_into(archive: Archive, part: Part = WHOLE) -> Content:
    """Returns the content of an archive, or of the part of it that is meant.

    Raises:
        CheckpointError: several wrapped state dicts between which only the user can choose, or two tensors that
            stripping gives one name.
    """
    raw = _tensors_of(archive.content, archive.place)
    if part.key is not None:
        raw = entry_named(part.key, raw, archive.place)
    state, notes = unwrap(raw, archive.place)
    if not isinstance(state, Mapping):
        return Content(archive.place, raw, {}, archive.metadata, unfolding=Unfolding(archive.file_bytes))
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and _is_readable(value)}
    ignored = {str(name): f"no tensor ({type(value).__name__})" for name, value in state.items() if name not in tensors}
    short = all(len(name) <= _LONGEST_NAME for name in tensors)
    check(short, f"a tensor's name must have at most {_LONGEST_NAME:,} letters", archive.place, way_out=None)
    plain = strip_wrappers(tensors)
    counts = Counter(plain.values())
    twice = sorted(name for name, short in plain.items() if counts[short] > 1)
    check(not twice, "a name must appear once, wrappers stripped", archive.place, shown(twice),
          "save the state dict of one of the models")  # fmt: skip
    written, left = _meant({short: name for name, short in plain.items()}, part, archive.place)
    return Content(
        archive.place, raw, {name: tensors[own] for name, own in written.items()}, archive.metadata,
        {**ignored, **left}, notes, {name: own for name, own in written.items() if name != own},
        Unfolding(archive.file_bytes),
    )  # fmt: skip


def _meant(names: Mapping[str, str], part: Part, place: str) -> tuple[dict[str, str], dict[str, str]]:
    """({name: name in the file} of what is meant, {name: why it is left out}). Raises where a pattern or prefix fits none."""
    left: dict[str, str] = {}
    for pattern in part.ignore:
        found = fnmatch.filter(names, pattern)
        _check_fits(bool(found), "a pattern to ignore", pattern, names, place)
        left.update(dict.fromkeys(found, "to be ignored"))
    if part.prefix:
        other = [name for name in names if not name.startswith(part.prefix)]
        _check_fits(len(other) < len(names), "a prefix", part.prefix, names, place)
        left.update(dict.fromkeys(other, "outside the prefix"))
    prefix = part.prefix or ""
    return {name.removeprefix(prefix): own for name, own in names.items() if name not in left}, left


def _check_fits(fits: bool, what: str, given: str, names: Iterable[str], place: str) -> None:
    names = list(names)
    way_out = f"the names are {', '.join(names[:4])}" + (", ..." if len(names) > 4 else "")
    check(fits, f"{what} must fit a name of the file", place, repr(given), way_out)


def entry_named(key: str, raw: Any, place: str) -> Any:
    """Returns the entry of a file that a key names, or the entry of an entry. Raises where there is none."""
    if isinstance(raw, Mapping) and key in raw:
        return raw[key]
    first, slash, rest = key.partition("/")
    if isinstance(raw, Mapping) and slash and first in raw:
        return entry_named(rest, raw[first], place)
    held = list(tables_in(raw))
    raise CheckpointError(
        "a key must name an entry of the file", place=place, received=repr(key),
        way_out=f"use one of {', '.join(held[:6])}" if held else "leave it out: the file holds one state dict",
    )  # fmt: skip


def tables_in(raw: Any) -> dict[str, Mapping[Any, Any]]:
    """Returns the entries that hold tensors by name, by their keys."""
    entries = raw.items() if isinstance(raw, Mapping) else ()
    tables = {str(key): value for key, value in entries if isinstance(value, Mapping)}
    kinds = (torch.Tensor, Mapping)
    return {key: table for key, table in tables.items() if any(isinstance(inner, kinds) for inner in table.values())}


def unwrap(raw: Any, place: str) -> tuple[Any, tuple[str, ...]]:
    """Returns the state dict inside wrappers (``state_dict``, ``model``, ...), however many; and notes."""
    notes: tuple[str, ...] = ()
    for _ in range(_DEEPEST):
        if not isinstance(raw, Mapping):
            return raw, notes
        inner = [key for key in WRAPPERS if isinstance(raw.get(key), Mapping) and raw[key]]
        if not inner:
            return raw, notes
        received, way_out = " and ".join(inner), f"choose one: key={inner[0]!r}"
        check(len(inner) == 1, "a checkpoint must hold one state dict", place, received, way_out)
        beside = ", ".join([key for key, table in tables_in(raw).items() if key != inner[0] and _is_state(table)][:4])
        if beside:
            notes += (f"Read: the entry {inner[0]}. Beside it: {beside} (key= or --key chooses another).",)
        raw = raw[inner[0]]
    raise CheckpointError(f"a state dict must be wrapped at most {_DEEPEST} times", place=place)


def _is_state(table: Mapping[Any, Any]) -> bool:
    """Whether a table may be a model's: it holds tensors by name, and a kernel among them."""
    return any(isinstance(value, torch.Tensor) and value.dim() > 1 for value in table.values())


def _is_readable(value: Any) -> bool:
    """Whether a value is a tensor whose values can be read at all."""
    return isinstance(value, torch.Tensor) and not value.is_nested and value.device.type != "meta"


def _tensors_of(value: Any, place: str, depth: int = 0, made: dict[int, Any] | None = None) -> Any:
    """The same nesting with arrays made tensors and quantised tensors made plain.

    What is referred to many times is made once: nested references in a small pickle may unfold without end.
    """
    made = {} if made is None else made
    if isinstance(value, np.ndarray):
        return to_tensor(value, place)
    if isinstance(value, torch.Tensor):
        value = value.dequantize() if value.is_quantized else value
        if _is_readable(value) and value.layout != torch.strided:
            check_sparse(value, place)
        return value.detach() if value.requires_grad else value
    if not isinstance(value, Mapping | list | tuple) or depth == _DEEPEST:
        return value
    if id(value) not in made:
        if isinstance(value, Mapping):
            made[id(value)] = {key: _tensors_of(inner, place, depth + 1, made) for key, inner in value.items()}
        else:
            made[id(value)] = [_tensors_of(inner, place, depth + 1, made) for inner in value]
    return made[id(value)]

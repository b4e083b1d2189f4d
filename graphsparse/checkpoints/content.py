"""What a file says before any form is read into it: wrappers unpacked, names plain, everything else listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from graphsparse.checkpoints.archives.archive import Archive
from graphsparse.checkpoints.archives.numpy_file import to_tensor
from graphsparse.checkpoints.names import Shape, strip_wrappers
from graphsparse.errors import CheckpointError

WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
_DEEPEST = 8


@dataclass(frozen=True, eq=False)
class Content:
    """A file's tensors by plain name.

    Attributes:
        place: the file, for messages.
        kind: the archive's kind.
        raw: all of the content, as nested, arrays made tensors.
        tensors: the state dict in it, wrappers unpacked and names stripped of what wrappers add.
        metadata: text beside the tensors.
        file_bytes: size on disk, None for content that came from no file.
        ignored: {name: why} of what is no tensor.
    """

    place: str
    kind: str
    raw: Any
    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    file_bytes: int | None = None
    ignored: Mapping[str, str] = field(default_factory=dict)

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


def look_into(archive: Archive) -> Content:
    """Returns the content of an archive.

    Raises:
        CheckpointError: several wrapped state dicts between which only the user can choose, or two tensors that
            stripping gives one name.
    """
    raw = _tensors_of(archive.content, archive.place)
    state = unwrap(raw, archive.place)
    if not isinstance(state, Mapping):
        return Content(archive.place, archive.kind, raw, {}, archive.metadata, archive.file_bytes)
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and _is_dense_enough(value)}
    ignored = {str(name): f"no tensor ({type(value).__name__})" for name, value in state.items() if name not in tensors}
    plain = strip_wrappers(tensors)
    if len(set(plain.values())) != len(plain):
        twice = sorted(name for name, short in plain.items() if list(plain.values()).count(short) > 1)
        raise CheckpointError(
            "a name appears once, wrappers stripped", place=archive.place, received=", ".join(twice[:4]),
            way_out="save the state dict of one of the models",
        )  # fmt: skip
    named = {short: tensors[name] for name, short in plain.items()}
    return Content(archive.place, archive.kind, raw, named, archive.metadata, archive.file_bytes, ignored)


def unwrap(raw: Any, place: str) -> Any:
    """Returns the state dict inside ``state_dict``, ``model``, ``model_state_dict`` or ``net``, however deep."""
    for _ in range(_DEEPEST):
        if not isinstance(raw, Mapping):
            return raw
        inner = [key for key in WRAPPERS if isinstance(raw.get(key), Mapping) and raw[key]]
        if not inner:
            return raw
        if len(inner) > 1:
            raise CheckpointError(
                "a checkpoint holds one state dict", place=place, received=" and ".join(inner),
                way_out="load it and pass one of them as a mapping, or save the one alone",
            )  # fmt: skip
        raw = raw[inner[0]]
    raise CheckpointError(f"a state dict is wrapped at most {_DEEPEST} times", place=place)


def _is_dense_enough(value: Any) -> bool:
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
        return (value.dequantize() if value.is_quantized else value).detach()
    if not isinstance(value, Mapping | list | tuple) or depth == _DEEPEST:
        return value
    if id(value) not in made:
        if isinstance(value, Mapping):
            made[id(value)] = {key: _tensors_of(inner, place, depth + 1, made) for key, inner in value.items()}
        else:
            made[id(value)] = [_tensors_of(inner, place, depth + 1, made) for inner in value]
    return made[id(value)]

"""What a program takes and gives: tuples, lists and dicts of plain values, rebuilt; nothing is imported for them."""

from __future__ import annotations

import json
import keyword
from typing import Any

import torch
from torch.utils import _pytree as pytree

from graphsparse.checkpoints.archives.program_values import Unlike

_FORM = 1  # of treespecs, as torch.utils._pytree.treespec_dumps writes them
_SEQUENCES = {"builtins.tuple": tuple, "builtins.list": list, "collections.namedtuple": tuple}
_MOST_PARTS = 10_000
_LONGEST = 1_000_000
_PLAIN = {int, float, bool, str, complex, type(None)}


def spec_of(structure: Any) -> str:
    """The text of a structure of tuples, lists and dicts, as torch reads it."""
    return pytree.treespec_dumps(pytree.tree_structure(structure))


def structure_of(text: str) -> Any:
    """The structure that a text describes, None at its leaves.

    Raises:
        Unlike: it holds anything but tuples, lists, and what has named parts: a dict stands for that.
    """
    if len(text) > _LONGEST:
        raise Unlike(f"a structure must be a text of at most {_LONGEST:,} letters")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Unlike(f"a structure must be JSON text: {error}") from error
    if type(found) is not list or len(found) != 2 or found[0] != _FORM:
        raise Unlike("a structure must be of the form that torch.export writes")
    return _structure(found[1])


def _structure(spec: Any) -> Any:
    children = spec.get("children_spec") if type(spec) is dict else None
    if type(children) is not list or type(spec.get("type")) not in (str, type(None)):
        raise Unlike("a structure must say its type and its parts")
    parts = [_structure(child) for child in children]
    kind = spec["type"]
    if kind is None and not parts:
        return None
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](parts)
    return dict(zip(_keys(spec.get("context"), len(parts), str(kind)), parts, strict=True))


def _keys(context: Any, count: int, kind: str) -> list[str]:
    """The names of a dict's parts, or of an output class's (of transformers, say): all that is left of the class."""
    try:
        keys = json.loads(context) if type(context) is str else None
    except ValueError:
        keys = None
    if type(keys) is not list or len({*map(str, keys)}) != count or not all(type(key) is str for key in keys):
        raise Unlike(f"inputs and outputs must be made of tuples, lists, dicts and None, not {kind[:60]!r}")
    return keys


def checked_inputs(found: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example inputs of a program, rebuilt: (positional, by keyword), of plain containers, tensors and numbers.

    Raises:
        Unlike: they are anything else.
    """
    pair = type(found) in (tuple, list) and len(found) == 2 and type(found[0]) in (tuple, list)
    if not pair or not isinstance(found[1], dict):
        raise Unlike("example inputs must be a tuple of values and a dict of values by keyword")
    for key in found[1]:
        if type(key) is not str or not key.isidentifier() or not key.isascii() or keyword.iskeyword(key):
            raise Unlike(f"an input's name must be an identifier, not {str(key)[:60]!r}")
    budget = [_MOST_PARTS]
    return tuple(_plain(value, budget) for value in found[0]), {k: _plain(v, budget) for k, v in found[1].items()}


def _plain(value: Any, budget: list[int]) -> Any:
    """A copy of a value; what refers to itself many times over is as large as its copy."""
    budget[0] -= 1
    if budget[0] < 0:
        raise Unlike(f"example inputs must have at most {_MOST_PARTS:,} parts")
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise Unlike("inputs by name must have texts as names")
        return {key: _plain(item, budget) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_plain(item, budget) for item in value)
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        if value.layout != torch.strided or value.is_quantized:
            raise Unlike("example inputs must be dense tensors")
        return value.detach()
    if type(value) not in _PLAIN:
        raise Unlike(f"example inputs must be tensors and numbers, not {type(value).__name__}")
    return value

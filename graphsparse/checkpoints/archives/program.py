"""A program of torch.export in a file, rebuilt as a text and tensors of our own that are safe to give to torch.

torch.export.load is not made for files of strangers: it unpickles, imports, evaluates and runs what it finds, and its
versions look at different parts of a file. So it is never called on a file. The archive is read here, once. Its text
is rebuilt from a strict schema (`program_schema`), the tensors are windows on the file, and only the result goes to
torch's deserialiser (`graphsparse.capture.stored`): no archive, no name of a file and no pickle reaches torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from graphsparse.checkpoints.archives import program_schema as schema
from graphsparse.checkpoints.archives.exported import member_object, open_members, stored_tensors
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.checkpoints.archives.program_values import Unlike, must, named
from graphsparse.checkpoints.archives.torch_file import read_bytes
from graphsparse.checkpoints.archives.zip_directory import Members
from graphsparse.checkpoints.checks import Unfolding
from graphsparse.errors import CheckpointError

_MODEL = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_INPUTS = "data/sample_inputs/model.pt"
_MARKS = {"archive_format": b"pt2", "archive_version": b"0"}
# Structures of inputs and outputs, as torch.utils._pytree.treespec_dumps writes them.
_FORM = 1
_SEQUENCES = {"builtins.tuple": tuple, "builtins.list": list, "collections.namedtuple": tuple}
_MOST_PARTS = 10_000
_LONGEST = 1_000_000
_PLAIN = {int, float, bool, str, complex, type(None)}
_WAY_OUT = "export and save it again with torch 2.9 or later, or name the model as package.module:factory"


@dataclass(frozen=True, eq=False)
class StoredProgram:
    """A program as a file holds it, rebuilt and not yet given to torch.

    Attributes:
        place: the file, for messages.
        text: the JSON object of the program, in the form of torch._export.serde.schema.
        weights: parameters and buffers by name, mapped and unread; on the meta device where the file has no weights.
        constants: further tensors by name.
        example_inputs: (positional, by keyword), or None.
        file_bytes: size of the file.
    """

    place: str
    text: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]
    constants: Mapping[str, torch.Tensor]
    example_inputs: tuple[tuple[Any, ...], dict[str, Any]] | None
    file_bytes: int


def open_program(path: Path) -> StoredProgram:
    """Returns the program of an archive of torch.export.save; nothing in the file is run.

    Raises:
        CheckpointError: no such archive, damaged, of an unknown form, or with parts that would have to be run.
    """
    try:
        members = open_members(MappedFile(path))
        root = _root(members)
        text = schema.program(member_object(members, root + _MODEL))
        text, inputs = _completed(text, _example_inputs(members, root + _INPUTS))
        weights = stored_tensors(members, root + _WEIGHTS, hollow=True)
        constants = stored_tensors(members, root + _CONSTANTS, hollow=True)
    except (Unlike, RecursionError, MemoryError) as error:
        received = str(error) if isinstance(error, Unlike) else "parts that are nested too deeply, or too many"
        rule = "a program must be of the form that torch.export.save writes, with nothing in it that has to be run"
        raise CheckpointError(rule, place=str(path), received=received[:200], way_out=_WAY_OUT) from error
    return StoredProgram(
        place=str(path), text=text, example_inputs=inputs, file_bytes=members.octets.size,
        weights={name: _as_saved(tensor, payload) for name, (tensor, payload) in weights.items()},
        constants={name: tensor for name, (tensor, _) in constants.items()},
    )  # fmt: skip


def _root(members: Members) -> str:
    """The folder of the archive that all members lie in. Every member that is read is there, under its one name."""
    root = next(iter(members.table), "").partition("/")[0] + "/"
    for name, content in _MARKS.items():
        marked = root + name in members.table and members.bytes(root + name) == content
        must(marked, f"{name} must be {content.decode()!r}")
    for name in (_MODEL, _WEIGHTS, _CONSTANTS, _INPUTS):
        must(root + name in members.table, f"a member {name} is missing")
    others = [n for n in members.table if re.search(r"(^|/)models/", n) and n != root + _MODEL]
    alone = not others and all(name.startswith(root) for name in members.table)
    must(alone, "an archive must hold one program, and its members must lie in one folder")
    return root


def _example_inputs(members: Members, name: str) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    data = members.bytes(name)
    if not data:
        return None
    inputs = _checked_inputs(read_bytes(data, members.within(name)))
    unfolding = Unfolding(members.octets.size)
    for leaf in pytree.tree_leaves(inputs):
        unfolding.add(getattr(leaf, "shape", ()), members.within(name))
    return inputs


def _completed(text: dict[str, Any], inputs: Any) -> tuple[dict[str, Any], Any]:
    """The program's text with all that torch asks for and the schema leaves out: empty, or made from what is known.

    The example inputs come back in the order in which the program takes them.
    """
    module = text["graph_module"]
    called: Any = next((call["signature"] for call in module["module_call_graph"] if call["fqn"] == ""), None)
    must(called is not None, "a program must say what it takes and what it gives")
    takes, gives = _structure_of(called["in_spec"]), _structure_of(called["out_spec"])
    pair = type(takes) is tuple and list(map(type, takes)) == [tuple, dict]
    must(pair, "a program must take a tuple of values and a dict of values by keyword")
    _checked_inputs(takes)
    if inputs is not None and set(inputs[1]) == set(takes[1]):
        inputs = inputs[0], {key: inputs[1][key] for key in takes[1]}
    must(inputs is None or _spec_of(inputs) == _spec_of(takes), "example inputs must be what the program takes")
    call = {**called, "inputs": [], "outputs": [], "in_spec": _spec_of(takes), "out_spec": _spec_of(gives)}
    whole = {
        **module, "module_call_graph": [{"fqn": "", "signature": call}], "metadata": {}, "treespec_namedtuple_fields": {},
    }  # fmt: skip
    return {**text, "graph_module": whole, "opset_version": {}, "range_constraints": {}, "guards_code": []}, inputs


def _as_saved(tensor: torch.Tensor, payload: Mapping[str, Any]) -> torch.Tensor:
    """A tensor of the file, a parameter where it was one; only floating ones may ask for gradients."""
    learns = payload["tensor_meta"]["requires_grad"] and (tensor.is_floating_point() or tensor.is_complex())
    return torch.nn.Parameter(tensor, requires_grad=learns) if payload["is_param"] else tensor


def _spec_of(structure: Any) -> str:
    """The text of a structure of tuples, lists and dicts, as torch reads it."""
    return pytree.treespec_dumps(pytree.tree_structure(structure))


def _structure_of(text: str) -> Any:
    """The structure that a text describes: tuples, lists, dicts (also for classes with named parts), None at leaves."""
    must(len(text) <= _LONGEST, f"a structure must be a text of at most {_LONGEST:,} letters")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Unlike(f"a structure must be JSON text: {error}") from error
    known = type(found) is list and len(found) == 2 and found[0] == _FORM
    must(known, "a structure must be of the form that torch.export writes")
    return _structure(found[1])


def _structure(spec: Any) -> Any:
    children: Any = spec.get("children_spec") if type(spec) is dict else None
    typed = type(children) is list and type(spec.get("type")) in (str, type(None))
    must(typed, "a structure must say its type and its parts")
    parts = [_structure(child) for child in children]
    kind = spec["type"]
    if kind is None and not parts:
        return None
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](parts)
    return dict(zip(_keys(spec.get("context"), len(parts), str(kind)), parts, strict=True))


def _keys(context: Any, count: int, kind: str) -> list[str]:
    """The names of the parts of a dict, or of an output class (of transformers, say), which becomes a dict."""
    try:
        keys: Any = json.loads(context) if type(context) is str else None
    except ValueError:
        keys = None
    names = type(keys) is list and all(type(key) is str for key in keys) and len(set(keys)) == len(keys) == count
    must(names, "inputs and outputs must be made of tuples, lists, dicts and None", kind)
    return keys


def _checked_inputs(found: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example inputs of a program, rebuilt: (positional, by keyword), of plain containers, tensors and numbers."""
    pair = type(found) in (tuple, list) and len(found) == 2 and type(found[0]) in (tuple, list)
    keyed = pair and type(found[1]) is dict
    must(keyed, "example inputs must be a tuple of values and a dict of values by keyword")
    plain = partial(_plain, budget=[_MOST_PARTS])
    return tuple(map(plain, found[0])), named(plain)(found[1])


def _plain(value: Any, budget: list[int]) -> Any:
    """A copy of a value. A list that holds one list many times, and so on, counts with all its copies."""
    budget[0] -= 1
    must(budget[0] >= 0, f"example inputs must have at most {_MOST_PARTS:,} parts")
    if isinstance(value, dict):
        must(all(type(key) is str for key in value), "inputs by name must have texts as names")
        return {key: _plain(item, budget) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_plain(item, budget) for item in value)
    if type(value) in (torch.Tensor, torch.nn.Parameter):
        must(value.layout == torch.strided and not value.is_quantized, "example inputs must be dense tensors")
        return value.detach()
    must(type(value) in _PLAIN, "example inputs must be tensors and numbers", type(value).__name__)
    return value

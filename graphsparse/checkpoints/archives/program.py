"""A program of torch.export in a file, rebuilt as a text and tensors of our own that torch may be given.

torch.export.load is not made for files of strangers: it unpickles, imports, evaluates and runs what it finds, and which
parts of a file it looks at differs between versions. So it is never called on a file. The archive is read here, once, its
text is rebuilt from a strict schema (`program_schema`), the tensors are windows on the file, and only the result goes to
torch's deserialiser (`graphsparse.capture.stored`): no archive, no name of a file and no pickle reaches torch. A new
archive for torch.export.load would do the same with two more copies of the weights in memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from graphsparse.checkpoints.archives import program_schema as schema
from graphsparse.checkpoints.archives.exported import member_object, open_members, stored_tensors
from graphsparse.checkpoints.archives.mapped import MappedFile
from graphsparse.checkpoints.archives.program_inputs import checked_inputs, spec_of, structure_of
from graphsparse.checkpoints.archives.program_values import Unlike
from graphsparse.checkpoints.archives.torch_file import read_bytes
from graphsparse.checkpoints.archives.zip_directory import Members
from graphsparse.checkpoints.checks import Unfolding
from graphsparse.errors import CheckpointError

_MODEL = "models/model.json"
_WEIGHTS = "data/weights/model_weights_config.json"
_CONSTANTS = "data/constants/model_constants_config.json"
_INPUTS = "data/sample_inputs/model.pt"
_MARKS = {"archive_format": b"pt2", "archive_version": b"0"}
_WAY_OUT = "export and save it again with torch 2.9 or later, or name the model as package.module:factory"


@dataclass(frozen=True, eq=False)
class StoredProgram:
    """A program as a file holds it, rebuilt and not yet given to torch.

    Attributes:
        place: the file, for messages.
        text: the JSON object of the program, in the form of torch._export.serde.schema.
        weights: parameters and buffers by name, mapped and unread; those of a program without weights are on the meta device.
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
        return _rebuilt(open_members(MappedFile(path)))
    except (Unlike, RecursionError, MemoryError) as error:
        received = str(error) if isinstance(error, Unlike) else "parts that are nested too deeply, or too many"
        rule = "a program must be of the form that torch.export.save writes, with nothing in it that has to be run"
        raise CheckpointError(rule, place=str(path), received=received[:200], way_out=_WAY_OUT) from error


def _rebuilt(members: Members) -> StoredProgram:
    root = _root(members)
    text = schema.program(member_object(members, root + _MODEL))
    text, inputs = _completed(text, _example_inputs(members, root + _INPUTS))
    weights = stored_tensors(members, root + _WEIGHTS, hollow=True)
    constants = stored_tensors(members, root + _CONSTANTS, hollow=True)
    return StoredProgram(
        place=members.octets.place, text=text,
        weights={name: _as_saved(tensor, payload) for name, (tensor, payload) in weights.items()},
        constants={name: tensor for name, (tensor, _) in constants.items()}, example_inputs=inputs,
        file_bytes=members.octets.size,
    )  # fmt: skip


def _root(members: Members) -> str:
    """The folder inside the archive that all members lie in; every member that is read is there, under its one name."""
    root = next(iter(members.table), "").partition("/")[0] + "/"
    for name, content in _MARKS.items():
        if root + name not in members.table or members.bytes(root + name) != content:
            raise Unlike(f"{name} must be {content.decode()!r}")
    for name in (_MODEL, _WEIGHTS, _CONSTANTS, _INPUTS):
        if root + name not in members.table:
            raise Unlike(f"a member {name} is missing")
    others = [n for n in members.table if re.search(r"(^|/)models/", n) and n != root + _MODEL]
    if others or not all(name.startswith(root) for name in members.table):
        raise Unlike("an archive must hold one program, and its members must lie in one folder")
    return root


def _example_inputs(members: Members, name: str) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    data = members.bytes(name)
    if not data:
        return None
    inputs = checked_inputs(read_bytes(data, members.within(name)))
    unfolding = Unfolding(members.octets.size)
    for leaf in torch.utils._pytree.tree_leaves(inputs):
        unfolding.add(getattr(leaf, "shape", ()), members.within(name))
    return inputs


def _completed(text: dict[str, Any], inputs: Any) -> tuple[dict[str, Any], Any]:
    """The program's text with all that torch asks for and the schema leaves out: empty, or made from what is known.

    The example inputs come back in the order in which the program takes them.
    """
    module = text["graph_module"]
    called = next((call["signature"] for call in module["module_call_graph"] if call["fqn"] == ""), None)
    if called is None:
        raise Unlike("a program must say what it takes and what it gives")
    takes, gives = structure_of(called["in_spec"]), structure_of(called["out_spec"])
    if type(takes) is not tuple or list(map(type, takes)) != [tuple, dict]:
        raise Unlike("a program must take a tuple of values and a dict of values by keyword")
    checked_inputs(takes)
    if inputs is not None and set(inputs[1]) == set(takes[1]):
        inputs = inputs[0], {key: inputs[1][key] for key in takes[1]}
    if inputs is not None and spec_of(inputs) != spec_of(takes):
        raise Unlike("example inputs must be what the program takes")
    call = {**called, "inputs": [], "outputs": [], "in_spec": spec_of(takes), "out_spec": spec_of(gives)}
    whole = {
        **module, "module_call_graph": [{"fqn": "", "signature": call}], "metadata": {}, "treespec_namedtuple_fields": {},
    }  # fmt: skip
    return {**text, "graph_module": whole, "opset_version": {}, "range_constraints": {}, "guards_code": []}, inputs


def _as_saved(tensor: torch.Tensor, payload: Mapping[str, Any]) -> torch.Tensor:
    """A parameter as a parameter; only floating ones may ask for gradients."""
    learns = payload["tensor_meta"]["requires_grad"] and (tensor.is_floating_point() or tensor.is_complex())
    return torch.nn.Parameter(tensor, requires_grad=learns) if payload["is_param"] else tensor

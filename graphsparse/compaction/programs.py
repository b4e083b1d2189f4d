"""An exported program as a model of modules whose widths can change.

A program calls operations on parameters, and sizes are numbers in its calls. Here its linear layers and convolutions
become modules, whose biases can take over constants, and the numbers follow when units leave.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from graphsparse.capture.nodes import operation_name
from graphsparse.capture.quiet import quiet
from graphsparse.compaction.bundles import Bundles
from graphsparse.compaction.modules import CONVOLUTIONS, TRANSPOSED
from graphsparse.compaction.tables import bundles_of, ids_of, others

APPLYING = (
    "linear", "convolution", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
)  # fmt: skip
SETTINGS = ("stride", "padding", "output_padding", "groups", "dilation")
SIZES = ("size", "shape", "sizes", "normalized_shape")
Lengths = list[np.ndarray]
"""Which indices stay, for each axis of a value."""


def as_model(program: ExportedProgram) -> GraphModule:
    """A module that computes what a program does, for inputs of other sizes too. Its tensors keep their names."""
    with quiet():
        model = program.module(check_guards=False)
    assert isinstance(model, GraphModule)
    for name in ("train", "eval"):  # a program refuses to change its mode, and inputs of other sizes
        vars(model).pop(name, None)
    model._forward_pre_hooks.clear()
    for read in model.graph.find_nodes(op="get_attr"):
        path, _, leaf = str(read.target).rpartition(".")
        holder = model.get_submodule(path)
        made = [_applied(call, path, holder) for call in read.users] if path and leaf == "weight" else []
        if made and made[0] is not None and all(repr(each) == repr(made[0]) for each in made):
            model.set_submodule(path, made[0])
            for call in list(read.users):
                call.op, call.target, call.args, call.kwargs = "call_module", path, call.args[:1], {}
    model.graph.eliminate_dead_code()
    model.recompile()
    return model.eval()


def takes_any_batch(model: nn.Module) -> bool:
    """Whether a model may take other numbers of samples: a program whose sizes are all fixed would mix them up."""
    if not isinstance(model, GraphModule):
        return True
    given = [node.meta.get("val") for node in model.graph.find_nodes(op="placeholder")]
    return any(isinstance(size, torch.SymInt) for each in given for size in getattr(each, "shape", ()))


def _applied(call: Node, path: str, holder: nn.Module) -> nn.Module | None:
    """The module that does what a call does with the tensors of a holder; None where no kind of module does."""
    name = operation_name(call.target)
    if name not in APPLYING or set(holder._parameters) - {"weight", "bias"}:
        return None
    given = _arguments(call)
    weight, bias = (getattr(given[key], "target", None) for key in ("weight", "bias"))
    if weight != f"{path}.weight" or bias not in (None, f"{path}.bias"):
        return None
    tensors = {key: holder._parameters[key] for key in ("weight", *(["bias"] if bias else []))}
    shape = holder.get_parameter("weight").shape
    settings: dict[str, Any] = {"bias": bias is not None, "device": "meta"}
    if name == "linear":
        made: nn.Module = nn.Linear(shape[1], shape[0], **settings)
    else:
        turned = given.get("transposed", "transpose" in name)
        settings |= {key: given[key] for key in SETTINGS if key in given and (turned or key != "output_padding")}
        ends = (shape[0], shape[1] * given["groups"])
        kind: Any = (TRANSPOSED if turned else CONVOLUTIONS)[len(shape) - 3]
        made = kind(*(ends if turned else ends[::-1]), shape[2:], **settings)
    made._parameters.update(tensors)
    return made


def _arguments(call: Node) -> dict[str, Any]:
    """The arguments of a call by the names that its operation has for them."""
    wanted = _schema(call)
    found = {each.name: each.default_value for each in wanted if each.has_default_value()}
    return found | dict(zip((each.name for each in wanted), call.args)) | dict(call.kwargs)


def _schema(call: Node) -> Any:
    return getattr(getattr(call.target, "_schema", None), "arguments", ())


def resize(model: GraphModule, bundles: Bundles, stays: np.ndarray) -> None:
    """Change the sizes that a program's calls have as numbers to those that are left."""
    values = {node.name: value for node, value in bundles.walk.values.items()}

    def left(node: Any) -> list[Lengths]:
        """For each value that a call gives, which indices of each axis stay; empty where one of them has no units."""
        made = values.get(node.name) if isinstance(node, Node) else None
        found = [ids_of(value) for value in (made if isinstance(made, tuple) else (made,))]
        return [_left(bundles.of, ids, stays) for ids in found if ids is not None] if None not in found else []

    for call in model.graph.nodes:
        made, read = left(call), left(call.args[0] if call.args else None)
        if read and _schema(call):
            places = {each.name: place for place, each in enumerate(_schema(call))}
            for name, new in _resized(operation_name(call.target), _arguments(call), made, read[0]).items():
                call.update_arg(places[name], new) if places[name] < len(call.args) else call.update_kwarg(name, new)
    model.recompile()


def _left(of: np.ndarray, ids: torch.Tensor, stays: np.ndarray) -> Lengths:
    """What stays of a value. Indices at which it has no units at all stay, as that of a class token does."""
    table = bundles_of(of, ids)
    kept = stays[table] & (table >= 0)
    along = [others(axis, table.ndim) for axis in range(table.ndim)]
    found = [kept.any(axes) | (table < 0).all(axes) for axes in along]
    return [np.broadcast_to(line | (len(line) == 1), size) for line, size in zip(found, ids.shape, strict=True)]


def _resized(name: str, given: dict[str, Any], made: list[Lengths], read: Lengths) -> dict[str, Any]:
    """The arguments that have other numbers now, of a call that ``made`` values of what it ``read`` first."""
    axis = given.get("dim", 0)
    count = next((key for key in ("num_groups", "group") if key in given), None)
    if count is not None:
        channels = int(read[1].sum())
        sizes = {"C": channels} if "C" in given else {}
        return {count: given[count] * channels // len(read[1]), **sizes}
    if name == "slice":
        ends = {key: given[key] for key in ("start", "end") if type(given[key]) is int}
        return {key: int(read[axis][:end].sum()) for key, end in ends.items() if end < len(read[axis])}
    found = {}
    for key in given.keys() & {"split_size", "split_sizes"} if made else ():
        parts = [int(each[axis].sum()) for each in made]
        found[key] = parts if isinstance(given[key], list) else parts[0]
    for key in given.keys() & set(SIZES) if made else ():
        first = {"sizes": axis % len(read), "normalized_shape": -len(given[key])}.get(key, 0)
        own = made[0][first:] + [np.empty(0)] * len(given[key])
        found[key] = [int(at.sum()) if size == len(at) else size for size, at in zip(given[key], own, strict=False)]
    return found

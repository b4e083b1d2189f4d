"""What a node of a captured program holds, where it stands, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.utils._pytree import tree_leaves

from graphsparse.errors import CaptureError

T = TypeVar("T")


def reached(starts: Iterable[T], onward: Callable[[T], Iterable[T]]) -> list[T]:
    """The starts and all that follows from them, each once; ``onward`` gives what comes after one."""
    found = dict.fromkeys(starts)
    waiting = list(found)
    while waiting:
        new = [each for each in onward(waiting.pop()) if each not in found]
        found.update(dict.fromkeys(new))
        waiting += new
    return list(found)


def needed(graph: Graph) -> list[Node]:
    """The inputs, and the calls that an output depends on: what is computed for nothing uses no parameter."""
    wanted = {graph.output_node()}
    for node in reversed(graph.nodes):
        if node in wanted:
            wanted.update(node.all_input_nodes)
    return [node for node in graph.nodes if node in wanted or node.op == "placeholder"]


def names_held(program: ExportedProgram) -> dict[str, str]:
    """What inputs of a program stand for: parameters, buffers, constants. The inputs that people give are left out."""
    signature = program.graph_signature
    return {
        **signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants,
    }  # fmt: skip


def tensors_in(value: Any) -> list[torch.Tensor]:
    """The tensors of a nested value, in order."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def kind_of(node: Node) -> str:
    """What a call gives: "number" (real or complex), "count" (integer), "truth" (boolean), or "nothing" of a tensor."""
    kinds = [tensor.dtype for tensor in tensors_in(node.meta.get("val"))]
    if any(kind.is_floating_point or kind.is_complex for kind in kinds):
        return "number"
    return "nothing" if not kinds else "truth" if all(kind == torch.bool for kind in kinds) else "count"


def place_of(node: Node) -> tuple[str, str]:
    """The path of the module that a call stands in, and its type's name."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", ""
    path, kind = stack[-1]
    return path.split("@")[0], (kind if isinstance(kind, str) else kind.__name__).rsplit(".", 1)[-1]


def is_norm(module_type: str) -> bool:
    """Whether a type of module is a normalisation, by its name: what it measures may be a statistic."""
    return "Norm" in module_type


def result_of(node: Node) -> tuple[torch.Size, torch.dtype]:
    """Shape and type of the (first) result of a call. Raises CaptureError where sizes depend on values of inputs."""
    value = next(iter(tensors_in(node.meta.get("val"))), None)
    if value is None:
        return torch.Size(), torch.float32
    sizes = [size.node.maybe_as_int() if isinstance(size, torch.SymInt) else size for size in value.shape]
    if None in sizes:
        raise CaptureError(
            "the sizes of values must not depend on the values of inputs or parameters", place=place_of(node)[0] or "the model",
            received=f"a result of {node.target} of shape ({', '.join(map(str, value.shape))})",
            way_out="export the model without that step, or a form of it whose sizes are fixed",
        )  # fmt: skip
    return torch.Size(sizes), value.dtype


def told_shapes(value: Any) -> str:
    """The shapes and types of the tensors of a value, for messages."""
    found = [f"{tuple(each.shape)} {str(each.dtype).removeprefix('torch.')}" for each in tensors_in(value)]
    return ", ".join(found) or "no tensor"


def same_sizes(said: Sequence[Any], found: Sequence[int]) -> bool:
    """Whether sizes are those that a program says; those that it leaves open may be any."""
    return len(said) == len(found) and all(isinstance(a, torch.SymInt) or a == b for a, b in zip(said, found))


def called(node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result of a call's operation on other arguments, on their device: that of the capture may not be there."""
    operation: Any = node.target
    if str(kwargs.get("device")) != "meta":
        kwargs = {key: value for key, value in kwargs.items() if key != "device"}
    if operation is torch.ops.aten.to.device:
        args = (args[0], args[0].device, *args[2:])
    return operation(*args, **kwargs)


def operation_name(target: Any) -> str:
    """The name of an operation, without its overload."""
    return getattr(getattr(target, "overloadpacket", target), "__name__", str(target))

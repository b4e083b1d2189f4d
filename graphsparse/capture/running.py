"""A captured program run on numbers, call by call, in double precision and with other tensors in the place of its own.

Each call is one operation of torch on tensors; no text of the program is compiled or evaluated, so the program may come from
a file of a stranger (whose operations `graphsparse.capture.operations` has looked at).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.nodes import called
from graphsparse.capture.rules.bodies import WRAPPED
from graphsparse.errors import CaptureError, brief

_COLUMNS = 1 << 27  # numbers, 1 GiB


@dataclass(frozen=True, eq=False)
class Runnable:
    """A program with ``tensors`` in the place of those that it holds under the same names. It is called with the leaves of
    its inputs, in their order, and gives the tensors of its outputs."""

    program: ExportedProgram
    tensors: Mapping[str, torch.Tensor]

    @torch.no_grad()
    def __call__(self, *leaves: Any) -> list[torch.Tensor]:
        """Raises CaptureError where an operation cannot be run on these tensors, or not in double precision."""
        signature, given = self.program.graph_signature, iter(leaves)
        held = {**self.program.constants, **self.program.state_dict, **self.tensors}
        names = {
            **signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants,
        }  # fmt: skip
        placeholders = [node.name for node in self.program.graph.nodes if node.op == "placeholder"]
        values = [held[names[name]] if name in names else next(given) for name in placeholders]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same numbers for each run of what is random
            made = tree_leaves(_run(self.program.graph_module, *map(_doubled, values)))
        shown = [spec.kind == OutputKind.USER_OUTPUT for spec in signature.output_specs]
        return [each for each, is_shown in zip(made, shown) if is_shown and isinstance(each, torch.Tensor)]


def _doubled(value: Any) -> Any:
    """Floating tensors, and types of them, in double precision."""
    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    if isinstance(value, torch.Tensor):
        return value.detach().to(torch.float64 if value.is_floating_point() else value.dtype, copy=True)
    return value


def _doubled_once(value: Any) -> Any:
    single = isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64
    return value.double() if single else value


def _run(program: GraphModule, *given: Any) -> Any:
    values: dict[Node, Any] = {}
    inputs, last = iter(given), _last_uses(program)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node] = next(inputs)
        elif node.op == "get_attr":
            held = getattr(program, str(node.target))
            values[node] = partial(_run, held) if isinstance(held, GraphModule) else _doubled(held)
        elif node.op == "call_function":
            values[node] = _call(node, *_of((node.args, dict(node.kwargs)), values))
        for done in last.get(node, ()):  # memory is for what is still read
            values.pop(done, None)
    return _of(program.graph.output_node().args[0], values)


def _last_uses(program: GraphModule) -> dict[Node, list[Node]]:
    """The values that nobody reads after a call, by the call."""
    seen: set[Node] = set(program.graph.output_node().all_input_nodes)
    found: dict[Node, list[Node]] = {}
    for node in reversed(program.graph.nodes):
        found[node] = [each for each in node.all_input_nodes if each not in seen]
        seen.update(node.all_input_nodes)
    return found


def _of(arguments: Any, values: Mapping[Node, Any]) -> Any:
    return tree_map(lambda a: values[a] if isinstance(a, Node) else _doubled(a), arguments)


def _call(node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        return _of_bodies(str(node.target), args)
    _check_columns(node, args)
    try:
        made = tree_map(_doubled_once, called(node, args, kwargs))  # `torch.ones` names no type
    except Exception as error:  # any operation may have been captured
        raise CaptureError(
            "an operation must be one that torch can run in double precision", place=f"{node.name} ({node.target})",
            received=brief(error),
        ) from error  # fmt: skip
    found, said = _shapes(made), _shapes(node.meta.get("val"))
    if len(found) != len(said) or not all(map(_fits, found, said)):  # bytes taken for other numbers grow call by call
        raise CaptureError(
            "an operation must give values of the same shapes in double precision", place=f"{node.name} ({node.target})",
            received=f"{', '.join(map(str, map(tuple, found)))[:60]}",
        )  # fmt: skip
    return made


def _shapes(value: Any) -> list[torch.Size]:
    return [leaf.shape for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _fits(found: torch.Size, said: torch.Size) -> bool:
    """Whether sizes are those that were said; some may be open."""
    return len(found) == len(said) and all(type(b) is not int or a == b for a, b in zip(found, said, strict=True))


def _check_columns(node: Node, args: Sequence[Any]) -> None:
    """Raises where a convolution in double precision would copy its windows into too large a matrix."""
    name = str(node.target)
    if "conv" not in name or len(args) < 2 or not all(isinstance(each, torch.Tensor) for each in args[:2]):
        return
    value, weight = args[:2]
    turned = "transpose" in name or (name == "aten.convolution.default" and bool(args[6]))
    over = value.shape if turned else next(iter(_shapes(node.meta.get("val"))), value.shape)
    samples = value.shape[0] if value.dim() == weight.dim() else 1
    count = weight[:1].numel() * samples * prod(int(size) for size in over[2 - weight.dim() :])
    if count > _COLUMNS:
        raise CaptureError(
            "a convolution to be run in double precision must have windows that fit in memory",
            place=f"{node.name} ({node.target})", received=f"{count:,} numbers in all windows",
        )  # fmt: skip


def _of_bodies(kind: str, args: Sequence[Any]) -> Any:
    """What an operation on programs gives (see `graphsparse.capture.rules.bodies`)."""
    if kind in WRAPPED:  # gradients and lower precision are not wanted
        return args[WRAPPED[kind]](*args[WRAPPED[kind] + 1 :])
    if kind == "cond":
        chosen, yes, no, operands = args
        return (yes if bool(chosen) else no)(*operands)
    if kind not in ("map_impl", "scan"):
        raise CaptureError("an operation on programs must be one that is known", received=kind)
    return _looped(args[0], *([[]] if kind == "map_impl" else []), *args[1:])


def _looped(
    body: Callable[..., Any], carried: Sequence[Any], over: Sequence[Any], operands: Sequence[Any] = ()
) -> tuple[Any, ...]:
    state, rows = list(carried), []
    for step in range(over[0].shape[0]):
        made = tree_leaves(body(*state, *(each[step] for each in over), *operands))
        state = made[: len(state)]
        rows.append(made[len(state) :])
    return (*state, *(torch.stack(each) for each in zip(*rows, strict=True)))

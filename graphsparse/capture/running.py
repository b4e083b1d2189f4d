"""A captured program run on numbers, call by call, in double precision and with other tensors in the place of its own.

Each call is one operation of torch on tensors; no text of the program is compiled or evaluated, so the program may come from
a file of a stranger (whose operations `graphsparse.capture.operations` has looked at).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.nodes import called, names_held, same_sizes, tensors_in
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
        given, names = iter(leaves), names_held(self.program)
        held = {**self.program.constants, **self.program.state_dict, **self.tensors}
        inputs = [node.name for node in self.program.graph.find_nodes(op="placeholder")]
        values = [held[names[name]] if name in names else next(given) for name in inputs]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same numbers for each run of what is random
            made = tree_leaves(_InDouble(self.program.graph_module)(*map(_doubled, values)))
        shown = [spec.kind == OutputKind.USER_OUTPUT for spec in self.program.graph_signature.output_specs]
        return [each for each, is_shown in zip(made, shown) if is_shown and isinstance(each, torch.Tensor)]


def _doubled(value: Any) -> Any:
    """A copy of a tensor on the host, in double precision where it is floating; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64 if value.is_floating_point() else value.dtype, copy=True)
    return value


def _doubled_once(value: Any) -> Any:
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


class _InDouble(Interpreter):
    """The calls of a program, one after the other. A value is dropped after its last use."""

    def __init__(self, program: GraphModule):
        super().__init__(program)
        self.extra_traceback = False  # it changes the text of errors

    def __call__(self, *given: Any) -> Any:
        return self.run(*given, enable_io_processing=False)

    def run_node(self, n: Node) -> Any:
        """The value of a node."""
        if n.op == "get_attr":
            held = getattr(self.module, str(n.target))
            return _InDouble(held) if isinstance(held, GraphModule) else _doubled(held)
        if n.op in ("placeholder", "output"):
            return super().run_node(n)
        return _call(n, *tree_map(_typed, self.fetch_args_kwargs_from_env(n)))  # no methods and no modules are called


def _typed(argument: Any) -> Any:
    """Double precision for any floating type; another argument as it is."""
    return torch.float64 if isinstance(argument, torch.dtype) and argument.is_floating_point else argument


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
    found, said = ([each.shape for each in tensors_in(value)] for value in (made, node.meta.get("val")))
    if len(found) != len(said) or not all(map(same_sizes, said, found)):  # bytes read as other numbers
        raise CaptureError(
            "an operation must give values of the same shapes in double precision", place=f"{node.name} ({node.target})",
            received=f"{', '.join(map(str, map(tuple, found)))[:60]}",
        )  # fmt: skip
    return made


def _check_columns(node: Node, args: Sequence[Any]) -> None:
    """Raises where a convolution in double precision would copy its windows into too large a matrix."""
    name = str(node.target)
    if "conv" not in name or len(args) < 2 or not all(isinstance(each, torch.Tensor) for each in args[:2]):
        return
    value, weight = args[:2]
    turned = "transpose" in name or (name == "aten.convolution.default" and bool(args[6]))
    over = value if turned else next(iter(tensors_in(node.meta.get("val"))), value)
    samples = value.shape[0] if value.dim() == weight.dim() else 1
    count = weight[:1].numel() * samples * prod(int(size) for size in over.shape[2 - weight.dim() :])
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
    if kind == "map_impl":
        return _looped(args[0], [], *args[1:])
    if kind == "scan":
        return _looped(*args)
    raise CaptureError("an operation on programs must be one that is known", received=kind)


def _looped(
    body: Callable[..., Any], carried: Sequence[Any], over: Sequence[Any], operands: Sequence[Any] = ()
) -> tuple[Any, ...]:
    state, rows = list(carried), []
    for step in range(over[0].shape[0]):
        made = tree_leaves(body(*state, *(each[step] for each in over), *operands))
        state = made[: len(state)]
        rows.append(made[len(state) :])
    return (*state, *(torch.stack(each) for each in zip(*rows, strict=True)))

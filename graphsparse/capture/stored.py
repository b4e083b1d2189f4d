"""A program from a file, given to torch and then checked: every shape that it claims is the one that torch finds.

The claims of a file decide how large things are and where loops read, so none is believed. The program is run once on
tensors without content (`FakeTensorMode`): inputs, parameters and constants as they are stored, every result as torch
says it is. Nothing is computed and no memory is taken; sizes and work are counted against what the file bears out.

What a graph takes is not known before it is made: units that repeat are made once. So the program also says how much
room its graph may have (`graphsparse.capture.draft.Draft.take`).
"""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._export.serde.serialize import SerializedArtifact, deserialize
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.costs import RECURRENT, UNITS, Costs, allowed, calls_of
from graphsparse.capture.network import ROOM
from graphsparse.capture.nodes import called
from graphsparse.capture.operations import check_operations
from graphsparse.capture.quiet import quiet
from graphsparse.capture.rules.bodies import WRAPPED
from graphsparse.errors import CaptureError, CheckpointError, GraphsparseError

_LARGEST_NUMBER = 1 << 63
_WAY_OUT = "name the model as package.module:factory, or check where the file comes from"


def build_program(
    text: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    constants: Mapping[str, torch.Tensor],
    example_inputs: tuple[tuple[Any, ...], dict[str, Any]] | None,
    *,
    place: str,
    file_bytes: float,
) -> ExportedProgram:
    """Returns the program, its operations, shapes and sizes checked.

    Args:
        text: the program, rebuilt from a strict schema (`graphsparse.checkpoints.archives.program_schema`).
        weights, constants: by name, the tensors that the program reads.
        example_inputs: (positional, by keyword), or None.
        place: the file, for messages.
        file_bytes: its size, which bears out so much; infinite where sizes are trusted.

    Raises:
        UnsupportedOperations: it names operations that are not on the list.
        CheckpointError: it is inconsistent, its claims are wrong, or it asks for more than its file bears out.
    """
    check_operations(text, place)
    try:
        with quiet(), torch.no_grad():
            stored = SerializedArtifact(json.dumps(text).encode(), weights, constants, example_inputs or b"")  # type: ignore[arg-type]
            program = deserialize(stored)
            _check(program, Costs(file_bytes))
            program.graph_module.meta[ROOM] = allowed(file_bytes, *UNITS)
    except GraphsparseError as error:
        raise CheckpointError(
            error.rule, place=place, received=error.received, way_out=error.way_out or _WAY_OUT
        ) from error
    except Exception as error:  # a stranger's program makes torch raise anything
        brief = (str(error).splitlines() or [""])[0][:120]
        raise CheckpointError(
            "a program must be one that torch can load and run", place=place,
            received=f"{type(error).__name__}: {brief}", way_out=_WAY_OUT,
        ) from error  # fmt: skip
    return program


@dataclass(frozen=True, eq=False)
class _Run:
    """One run of a program on tensors without content.

    ``moved`` are the nodes that a floating input or parameter moves; ``times``: how often the program runs, in a loop.
    """

    costs: Costs
    times: int = 1
    values: dict[Node, Any] = field(default_factory=dict)
    moved: set[Node] = field(default_factory=set)


def _check(program: ExportedProgram, costs: Costs) -> None:
    mode = FakeTensorMode(allow_fallback_kernels=False, shape_env=ShapeEnv())
    run = _Run(costs)
    given = _given(program)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            stored = given[node.name]
            value = mode.from_tensor(stored, static_shapes=True) if isinstance(stored, torch.Tensor) else stored
            if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
                run.moved.update([node] if node.name not in program.graph_signature.inputs_to_buffers else [])
            _set(run, node, value)
    with mode:
        _calls(run, program.graph_module)


def _given(program: ExportedProgram) -> dict[str, Any]:
    """What is stored for every input of a program, by the input's name."""
    signature = program.graph_signature
    held = {**program.constants, **program.state_dict}
    names = {
        **signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants,
    }  # fmt: skip
    missing = [name for name in names.values() if name not in held]
    if missing:
        raise CaptureError("a program's tensors must be in its file", received=missing[0])
    claimed = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    leaves = tree_leaves(program.example_inputs) if program.example_inputs is not None else None
    free = [name for name in claimed if name not in names]
    if leaves is not None and len(leaves) != len(free):
        raise CaptureError(
            "example inputs must be as many as a program takes", received=f"{len(leaves)} and {len(free)}"
        )
    examples = dict(zip(free, leaves, strict=True)) if leaves is not None else claimed
    return {name: held[names[name]] if name in names else examples[name] for name in claimed}


def _calls(run: _Run, program: GraphModule) -> Any:
    """Run the calls of a program whose inputs are set; returns what it gives."""
    for node in program.graph.nodes:
        if node.op == "get_attr":
            held = getattr(program, str(node.target))
            if not isinstance(held, GraphModule):
                raise CaptureError("a program's tensors must be its inputs", received=str(node.target))
            run.values[node] = held
        elif node.op == "call_function":
            _call(run, node)
    output = program.graph.output_node()
    return tree_map(lambda a: run.values[a] if isinstance(a, Node) else a, output.args[0])


def _call(run: _Run, node: Node) -> None:
    args, kwargs = tree_map(lambda a: run.values[a] if isinstance(a, Node) else a, (node.args, dict(node.kwargs)))
    moved = any(each in run.moved for each in node.all_input_nodes)
    name = getattr(getattr(node.target, "overloadpacket", node.target), "__name__", str(node.target)).rstrip("_")
    given: Sequence[Any] = args
    if isinstance(node.target, torch._ops.HigherOrderOperator):
        value = _of_bodies(run, node, args)
        moved = True
    else:
        given = _in_order(node.target, args, kwargs)
        run.costs.runs(run.times * calls_of(name, node.target, given))
        value = _of_one_step(node.target, given) if name in RECURRENT else called(node, args, kwargs)
    if node.target is not operator.getitem:
        run.costs.call(name, _tensors(given), _tensors(value), given, not moved, run.times)
    run.moved.update([node] if moved else [])
    _set(run, node, value)


def _of_one_step(target: Any, args: Sequence[Any]) -> Any:
    """What a recurrent layer gives, run over its first step alone: torch takes some apart, step by step."""
    value, axis = args[0], int(args[0].dim() > 2 and bool(args[-1]))
    if target._overloadname != "input" or not value.shape[axis]:
        return target(*args)
    made, *states = target(value.narrow(axis, 0, 1), *args[1:])
    return made.new_empty([value.shape[axis] if at == axis else size for at, size in enumerate(made.shape)]), *states


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _in_order(target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any]:
    """All arguments of a call in the order of its schema, however they were given."""
    if not kwargs:
        return args
    return [*args, *(kwargs.get(each.name) for each in target._schema.arguments[len(args) :])]


def _set(run: _Run, node: Node, value: Any) -> None:
    """Note what torch finds for a node, after comparing it with what the file claims."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, torch.Tensor):
            run.costs.value(leaf)
        elif type(leaf) is int and abs(leaf) >= _LARGEST_NUMBER:
            raise CaptureError("an integer must fit in 64 bits", received=f"{leaf.bit_length()} bits")
    if "val" in node.meta and not _agree(node.meta["val"], value):
        raise CaptureError("the shapes of a program must agree with its tensors", received=_told(node, value))
    run.values[node] = value


def _agree(claimed: Any, found: Any) -> bool:
    """Whether tensors are claimed with the shapes and types that they have; numbers may be open."""
    pairs = [[leaf for leaf in tree_leaves(each) if isinstance(leaf, torch.Tensor)] for each in (claimed, found)]
    return len(pairs[0]) == len(pairs[1]) and all(
        a.shape == b.shape and a.dtype == b.dtype for a, b in zip(*pairs, strict=True)
    )


def _told(node: Node, value: Any) -> str:
    both = (
        [f"{tuple(leaf.shape)} {leaf.dtype}" for leaf in tree_leaves(each) if isinstance(leaf, torch.Tensor)]
        for each in (node.meta["val"], value)
    )
    claimed, found = (", ".join(each)[:60] or "no tensor" for each in both)
    return f"{node.name[:40]} claimed as {claimed}, found as {found}"


def _of_bodies(run: _Run, node: Node, args: Sequence[Any]) -> Any:
    """What an operation on programs gives; each program is run once."""
    kind = str(node.target)
    if kind in WRAPPED:
        return _body(run, args[WRAPPED[kind]], args[WRAPPED[kind] + 1 :])
    if kind == "cond":
        _, yes, no, operands = args
        first, second = _body(run, yes, operands), _body(run, no, operands)
        if not _agree(first, second):
            raise CaptureError("both branches of a choice must give values of the same shapes")
        return first
    body, *groups = args
    carried = groups.pop(0) if kind == "scan" else []
    rows, operands = groups[0], groups[1] if len(groups) > 1 else []
    steps = rows[0].shape[0]
    if steps < 1 or any(each.shape[0] != steps for each in rows):
        raise CaptureError("a loop must run over at least one row, as many of each value", received=f"{steps:,}")
    made = tree_leaves(_body(run, body, [*carried, *(each[0] for each in rows), *operands], steps))
    state, rest = made[: len(carried)], made[len(carried) :]
    if not _agree(carried, state):
        raise CaptureError("a loop must carry values of the same shapes")
    return (*state, *(each.new_empty([steps, *each.shape]) for each in rest))


def _body(run: _Run, program: Any, operands: Sequence[Any], times: int = 1) -> Any:
    """What a program inside the program gives, which runs that often."""
    if not isinstance(program, GraphModule):
        raise CaptureError("an operation on programs must be given programs", received=type(program).__name__)
    inner = _Run(run.costs, run.times * times)
    run.costs.runs(inner.times)
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, value in zip(placeholders, operands, strict=True):
        inner.moved.add(node)
        _set(inner, node, value)
    return _calls(inner, program)

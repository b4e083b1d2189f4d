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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch._export.serde.serialize import SerializedArtifact, deserialize
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._pytree import tree_leaves

from graphsparse.capture.costs import RECURRENT, UNITS, Costs, allowed, calls_of
from graphsparse.capture.network import ROOM
from graphsparse.capture.nodes import called, names_held, operation_name, tensors_in, told_shapes
from graphsparse.capture.operations import check_operations
from graphsparse.capture.quiet import quiet
from graphsparse.capture.rules.bodies import WRAPPED
from graphsparse.errors import CaptureError, CheckpointError, GraphsparseError, brief

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
        raise CheckpointError(
            "a program must be one that torch can load and run", place=place,
            received=brief(error, 120), way_out=_WAY_OUT,
        ) from error  # fmt: skip
    return program


def _check(program: ExportedProgram, costs: Costs) -> None:
    mode = FakeTensorMode(allow_fallback_kernels=False, shape_env=ShapeEnv())
    given, buffers = _given(program), program.graph_signature.inputs_to_buffers
    values, moved = {}, []
    for node in program.graph.find_nodes(op="placeholder"):
        stored = values[node] = given[node.name]
        if isinstance(stored, torch.Tensor):
            values[node] = mode.from_tensor(stored, static_shapes=True)
            if (stored.is_floating_point() or stored.is_complex()) and node.name not in buffers:
                moved.append(node)
    with mode:
        _Run(program.graph_module, costs, moved).of(values)


def _given(program: ExportedProgram) -> dict[str, Any]:
    """What is stored for every input of a program, by the input's name."""
    held, names = {**program.constants, **program.state_dict}, names_held(program)
    missing = [name for name in names.values() if name not in held]
    if missing:
        raise CaptureError("a program's tensors must be in its file", received=missing[0])
    claimed = {node.name: node.meta.get("val") for node in program.graph.find_nodes(op="placeholder")}
    free = [name for name in claimed if name not in names]
    if program.example_inputs is not None:
        leaves = tree_leaves(program.example_inputs)
        if len(leaves) != len(free):
            given = f"{len(leaves)} and {len(free)}"
            raise CaptureError("example inputs must be as many as a program takes", received=given)
        claimed.update(zip(free, leaves, strict=True))
    return {name: held[names[name]] if name in names else claimed[name] for name in claimed}


class _Run(Interpreter):
    """One run of a program on tensors without content, by torch's interpreter; ``times``: in a loop it runs so often.

    ``moved`` are the nodes that a floating input or parameter moves; the inputs among them are given.
    """

    def __init__(self, program: GraphModule, costs: Costs, moved: Iterable[Node], times: int = 1):
        super().__init__(program, garbage_collect_values=False)
        self.extra_traceback = False  # it changes the text of errors
        self.costs, self.moved, self.times = costs, set(moved), times

    def of(self, given: dict[Node, Any]) -> Any:
        """What the program gives of its inputs."""
        for node, value in given.items():
            self._compare(node, value)
        return self.run(initial_env=given, enable_io_processing=False)

    def run_node(self, n: Node) -> Any:
        """The value of a node."""
        if n.op == "output":
            return super().run_node(n)
        if n.op == "get_attr":
            held = getattr(self.module, str(n.target))
            if not isinstance(held, GraphModule):
                raise CaptureError("a program's tensors must be its inputs", received=str(n.target))
            return held
        value = self._call(n, *self.fetch_args_kwargs_from_env(n))
        self._compare(n, value)
        return value

    def _call(self, node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        moved, name = not self.moved.isdisjoint(node.all_input_nodes), operation_name(node.target).rstrip("_")
        if isinstance(node.target, torch._ops.HigherOrderOperator):
            value, moved = self._of_bodies(str(node.target), args), True
        else:
            given, target = (args, kwargs), cast(Any, node.target)
            if kwargs:  # all arguments in the order of the schema, however they were given
                args = [*args, *(kwargs.get(each.name) for each in target._schema.arguments[len(args) :])]
            self.costs.add("calls", self.times * calls_of(name, node.target, args))
            value = _of_one_step(node.target, args) if name in RECURRENT else called(node, *given)
        if node.target is not operator.getitem:
            self.costs.call(name, tensors_in(args), tensors_in(value), args, not moved, self.times)
        self.moved.update([node] if moved else [])
        return value

    def _compare(self, node: Node, value: Any) -> None:
        """Count what torch finds for a node, and compare it with what the file claims."""
        for leaf in tree_leaves(value):
            if isinstance(leaf, torch.Tensor):
                self.costs.value(leaf)
            elif type(leaf) is int and abs(leaf) >= _LARGEST_NUMBER:
                raise CaptureError("an integer must fit in 64 bits", received=f"{leaf.bit_length()} bits")
        if "val" in node.meta and not _agree(node.meta["val"], value):
            claimed, found = (told_shapes(each)[:60] for each in (node.meta["val"], value))
            raise CaptureError(
                "the shapes of a program must agree with its tensors",
                received=f"{node.name[:40]} claimed as {claimed}, found as {found}",
            )

    def _of_bodies(self, kind: str, args: Sequence[Any]) -> Any:
        """The result of an operation on programs; each program is run once."""
        if kind in WRAPPED:
            return self._body(args[WRAPPED[kind]], args[WRAPPED[kind] + 1 :])
        if kind == "cond":
            _, yes, no, operands = args
            first, second = self._body(yes, operands), self._body(no, operands)
            if not _agree(first, second):
                raise CaptureError("both branches of a choice must give values of the same shapes")
            return first
        body, *groups = args
        carried = groups.pop(0) if kind == "scan" else []
        rows, operands = groups[0], groups[1] if len(groups) > 1 else []
        steps = rows[0].shape[0]
        if steps < 1 or any(each.shape[0] != steps for each in rows):
            raise CaptureError("a loop must run over at least one row, as many of each value", received=f"{steps:,}")
        made = tree_leaves(self._body(body, [*carried, *(each[0] for each in rows), *operands], steps))
        state, rest = made[: len(carried)], made[len(carried) :]
        if not _agree(carried, state):
            raise CaptureError("a loop must carry values of the same shapes")
        return (*state, *(each.new_empty([steps, *each.shape]) for each in rest))

    def _body(self, program: Any, operands: Sequence[Any], times: int = 1) -> Any:
        """The result of a program inside the program; ``times``: in a loop it runs so often."""
        if not isinstance(program, GraphModule):
            raise CaptureError("an operation on programs must be given programs", received=type(program).__name__)
        times *= self.times
        self.costs.add("calls", times)
        given = dict(zip(program.graph.find_nodes(op="placeholder"), operands, strict=True))
        return _Run(program, self.costs, given, times).of(given)


def _of_one_step(target: Any, args: Sequence[Any]) -> Any:
    """The result of a recurrent layer, found by its first step alone: torch would run some step by step."""
    value, axis = args[0], int(args[0].dim() > 2 and bool(args[-1]))
    if target._overloadname != "input" or not value.shape[axis]:
        return target(*args)
    made, *states = target(value.narrow(axis, 0, 1), *args[1:])
    return made.new_empty([value.shape[axis] if at == axis else size for at, size in enumerate(made.shape)]), *states


def _agree(claimed: Any, found: Any) -> bool:
    """Whether tensors are claimed with the shapes and types that they have; numbers may be open."""
    pairs = tensors_in(claimed), tensors_in(found)
    return len(pairs[0]) == len(pairs[1]) and all(
        a.shape == b.shape and a.dtype == b.dtype for a, b in zip(*pairs, strict=True)
    )

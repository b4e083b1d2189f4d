"""The one walk over a captured program. A reading (`Reading`) says what values are and what becomes of them."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.decomposing import decomposed
from graphsparse.capture.nodes import kind_of, names_held, needed, place_of
from graphsparse.capture.quiet import same_random_state
from graphsparse.capture.table import Rule, Table, row_of
from graphsparse.capture.values import Known
from graphsparse.errors import UnsupportedOperations

Step = Callable[[int, int], None]
"""Called with (done, in all)."""


def _unheard(done: int, total: int) -> None:
    """Nobody listens."""


_LISTENER: ContextVar[Callable[[str], Step]] = ContextVar("listener", default=lambda name: _unheard)


@contextmanager
def listening(listener: Callable[[str], Step]) -> Iterator[None]:
    """Tell how far a capture in the block is: ``listener(name)`` gives what is called with (done, in all)."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def told(name: str) -> Step:
    """Begin a part of a capture; what it gives is called with (done, in all)."""
    return _LISTENER.get()(name)


REFUSED: Any = object()
"""The result of an operation that has no rule. What reads it is looked up too, so that all are named at once."""


class RefusedInside(Exception):
    """An operation has no rule in a program that another operation takes as an operand; it is noted already."""


class Reading(Protocol):
    """What a program is read as: as units (`graphsparse.capture.lower`), or as SynFlow's signals.

    ``lack`` and ``way_out`` complete the error that names the operations about which the table says nothing.
    """

    lack: ClassVar[str]
    way_out: ClassVar[str]

    def knows(self, row: Rule) -> bool:
        """Whether a row says what to do with an operation."""

    def parameter(self, name: str, example: torch.Tensor) -> Any:
        """The value of a parameter."""

    def constant(self, tensor: torch.Tensor) -> Known:
        """The value of a buffer or another tensor that the program holds."""

    def given(self, name: str, example: Any) -> Any:
        """The value of an input."""

    def call(self, node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any], walk: Walk) -> Any:
        """What an operation makes of its arguments; `REFUSED` where the row says nothing of it."""


AReading = TypeVar("AReading", bound=Reading)


@dataclass
class Walk:
    """One walk: the value of every node, and the places of operations without a rule."""

    program: ExportedProgram
    table: Table
    reading: Reading
    values: dict[Node, Any] = field(default_factory=dict)
    refused: dict[Any, list[str]] = field(default_factory=lambda: defaultdict(list))

    def all(self) -> None:
        """Walk the whole program."""
        program, signature = self.program, self.program.graph_signature
        leaves = tree_leaves(program.example_inputs or ((), {}))
        examples = dict(zip(signature.user_inputs, leaves, strict=False))
        parameters, names = signature.inputs_to_parameters, names_held(program)  # each read makes a new dict
        held = {**program.constants, **program.state_dict}

        def given(node: Node) -> Any:
            if node.name in parameters:
                return self.reading.parameter(parameters[node.name], node.meta["val"])
            if node.name in names:
                stored = held.get(names[node.name])
                return self.reading.constant(node.meta["val"].to("meta") if stored is None else stored.detach())
            return self.reading.given(node.name, examples.get(node.name))

        self._walk(program.graph_module, given, told("reading operations"))

    def outputs(self) -> list[Any]:
        """The values that the program returns, in order; not what it writes back to its buffers."""
        specs = self.program.graph_signature.output_specs
        wanted = {spec.arg.name for spec in specs if spec.kind.name == "USER_OUTPUT" and hasattr(spec.arg, "name")}
        leaves = tree_leaves(self.program.graph.output_node().args)
        return [self.values[leaf] for leaf in leaves if isinstance(leaf, Node) and leaf.name in wanted]

    def _walk(self, module: GraphModule, given: Callable[[Node], Any], step: Step = _unheard) -> None:
        """Walk what the outputs depend on; ``given`` says what each input of the program is."""
        nodes = needed(module.graph)
        for done, node in enumerate(nodes, 1):
            if node.op == "placeholder":
                self.values[node] = given(node)
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op == "get_attr":
                held = getattr(module, str(node.target))
                self.values[node] = held if isinstance(held, GraphModule) else self.reading.constant(held)
            step(done, len(nodes))

    def _call(self, node: Node) -> Any:
        args, kwargs = self._of((node.args, dict(node.kwargs)))
        if node.target is operator.getitem:
            return args[0] if args[0] is REFUSED else args[0][args[1]]
        row = row_of(self.table, node.target)
        refused = any(leaf is REFUSED for leaf in tree_leaves((args, kwargs)))
        if refused and self.reading.knows(row):
            return REFUSED
        try:
            made = REFUSED if refused else self.reading.call(node, row, args, kwargs, self)
        except RefusedInside:
            return REFUSED
        if made is REFUSED:
            self.refused[node.target].append(place_of(node)[0])
        return made

    def _of(self, arguments: Any) -> Any:
        """Values in the place of nodes."""
        return tree_map(lambda leaf: self.values[leaf] if isinstance(leaf, Node) else leaf, arguments)

    def body(self, program: GraphModule, operands: Sequence[Any]) -> Any:
        """What a program inside the program makes of its operands."""
        operand = iter(operands)
        self._walk(program, lambda _: next(operand))
        outputs = self._of(program.graph.output_node().args[0])
        if any(leaf is REFUSED for leaf in tree_leaves(outputs)):
            raise RefusedInside
        return outputs


@same_random_state()  # a model that draws numbers has them drawn where constants are computed
def read(program: ExportedProgram, table: Table, start: Callable[[ExportedProgram], AReading]) -> tuple[Walk, AReading]:
    """Walk a program with a new reading; where an operation has no rule, take it apart and walk again.

    Raises UnsupportedOperations for those that torch cannot take apart either.
    """
    simpler = _without_rule(program, table, start(program))
    program, tried = decomposed(program, simpler) or program, simpler
    while True:
        reading = start(program)
        walk = Walk(program, table, reading)
        walk.all()
        simpler = set(walk.refused) - tried
        apart = decomposed(program, simpler)
        if apart is None:
            _refuse_all(walk)
            return walk, reading
        program, tried = apart, tried | simpler


def _without_rule(program: ExportedProgram, table: Table, reading: Reading) -> set[Any]:
    """Operations without a rule that a floating input or a row of a table surely reaches: known before the first walk."""
    inputs, behind, moved, found = set(program.graph_signature.user_inputs), set(), set(), set()
    for node in needed(program.graph):
        if node.op == "placeholder" and node.name in inputs:
            behind.add(node)
            moved.update([node] if kind_of(node) == "number" else [])
        elif node.op == "call_function" and not behind.isdisjoint(node.all_input_nodes):
            behind.add(node)
            row = row_of(table, node.target)
            reached = row.kernel_at is not None or not moved.isdisjoint(node.all_input_nodes)
            if reached and kind_of(node) == "number":
                moved.add(node)
                found.update([] if node.target is operator.getitem or reading.knows(row) else [node.target])
    return found


def _refuse_all(walk: Walk) -> None:
    """Raise one error that lists every operation without a rule, how often it occurs and where first."""
    if not walk.refused:
        return
    width = max(len(str(target)) for target in walk.refused)
    lines = [
        f"    {target!s:<{width}}  {len(places)} call{'s' if len(places) > 1 else ' '}  at {places[0] or 'the top'}"
        + (f" and {len(set(places)) - 1} more" if len(set(places)) > 1 else "")
        for target, places in sorted(walk.refused.items(), key=lambda item: -len(item[1]))
    ]
    total = len({node.target for node in walk.program.graph.nodes if node.op == "call_function"})
    raise UnsupportedOperations(
        f"{len(walk.refused)} of {total} operations {walk.reading.lack}\n"
        + "\n".join([*lines, f"  {walk.reading.way_out}"])
    )

"""The one loop over the calls of a captured program: constants are computed, everything else goes by the table."""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.call import Call
from graphsparse.capture.draft import Draft
from graphsparse.capture.inputs import Inputs
from graphsparse.capture.nodes import attribute, is_constant, needed, place_of, result_of
from graphsparse.capture.rules import PRODUCTS, TAKES_KERNEL, integers
from graphsparse.capture.rules.constants import compute
from graphsparse.capture.rules.weights import transform
from graphsparse.capture.values import Known, Units, Weight
from graphsparse.errors import CaptureError, GraphsparseError, UnsupportedOperations

Rules = Mapping[Any, Callable[..., Any]]


class Refused:
    """The result of an operation that has no rule; what reads it is looked up too, so that all are named at once."""


class _RefusedInside(Exception):
    """A program that an operation takes as an operand needs an operation that has no rule, noted already."""


@dataclass
class Lowering:
    """The state of the loop: what each node is, and what was met on the way."""

    draft: Draft
    rules: Rules
    values: dict[Node, Any] = field(default_factory=dict)
    refused: dict[Any, list[str]] = field(default_factory=lambda: defaultdict(list))
    used: Counter = field(default_factory=Counter)
    said: list[tuple[str, Call]] = field(default_factory=list)
    sinks: list[torch.Tensor] = field(default_factory=list)

    @property
    def conservative(self) -> tuple[tuple[str, str, str], ...]:
        """What was decided on the safe side; asked for last, since some values are made when they are first read."""
        return tuple((called, call.place, reason) for called, call in self.said for reason in call.conservative)


def lower(program: ExportedProgram, draft: Draft, rules: Rules, names: Mapping[str, str], inputs: Inputs) -> Lowering:
    """Walk the program once. ``names`` gives each captured parameter the name that the graph uses for it."""
    lowering = Lowering(draft, rules)
    _walk(lowering, program.graph_module, _given(program, draft, names, inputs))
    _collect_sinks(lowering, program)
    return lowering


def _walk(lowering: Lowering, program: GraphModule, given: Callable[[Node], Any]) -> None:
    """Lower what the outputs depend on; ``given`` says what each input of the program is."""
    for node in needed(program.graph):
        if node.op == "placeholder":
            lowering.values[node] = given(node)
        elif node.op == "call_function":
            lowering.values[node] = _evaluate(lowering, node)
        elif node.op == "get_attr":
            lowering.values[node] = attribute(program, node)


def _given(program: ExportedProgram, draft: Draft, names: Mapping[str, str], inputs: Inputs):
    """What each placeholder of the program is."""
    signature = program.graph_signature

    def value(node: Node) -> Any:
        if node.name in signature.inputs_to_parameters:
            target = signature.inputs_to_parameters[node.name]
            return Weight(names.get(target, target), torch.empty(node.meta["val"].shape, device="meta"))
        if node.name in signature.inputs_to_buffers:
            target = signature.inputs_to_buffers[node.name]
            stored = program.state_dict.get(target, program.constants.get(target))
            return Known(stored.detach() if stored is not None else node.meta["val"].to("meta"))
        if node.name in signature.inputs_to_lifted_tensor_constants:
            return Known(program.constants[signature.inputs_to_lifted_tensor_constants[node.name]].detach())
        return inputs.value(draft, node.name)

    return value


def _evaluate(lowering: Lowering, node: Node) -> Any:
    draft, target = lowering.draft, node.target
    args, kwargs = tree_map(
        lambda a: _read(lowering, node, a) if isinstance(a, Node) else a, (node.args, dict(node.kwargs))
    )
    leaves = tree_leaves((args, kwargs))
    if target is operator.getitem:
        return args[0] if isinstance(args[0], Refused) else args[0][args[1]]
    place, module_type = place_of(node)
    called = getattr(getattr(target, "overloadpacket", target), "__name__", str(target))
    draft.place = (place, called)
    rule = lowering.rules.get(target) or lowering.rules.get(str(target))
    has_rule = rule is not None
    if any(isinstance(leaf, Refused) for leaf in leaves):
        return Refused() if has_rule else _refuse(lowering, target, place)
    moved = any(isinstance(leaf, (Units, GraphModule)) for leaf in leaves)
    tokens = any(isinstance(leaf, Known) and leaf.token for leaf in leaves)
    weights = any(isinstance(leaf, Weight) for leaf in leaves)
    if not moved and not (has_rule and weights and (tokens or _has_kernel(target, args))):
        return transform(node, args, kwargs) if weights else compute(node, args, kwargs)
    if is_constant(node):
        if not integers.carries(node, lowering.values):
            return tree_map(_shape_only, node.meta.get("val"))
        rule = integers.RULES.get(target, rule)
    if rule is None:
        return _refuse(lowering, target, place)
    shape, dtype = result_of(node)
    call = Call(draft, target, shape, dtype, place, module_type, body=partial(_body, lowering))
    try:
        value = _by_rule(rule, call, args, kwargs)
    except _RefusedInside:
        return Refused()
    lowering.used[called] += 1
    lowering.said.append((called, call))
    return value


def _body(lowering: Lowering, program: GraphModule, operands: Sequence[Any]) -> Any:
    """What a program inside the program makes of its operands; others may hold their units too."""
    operand, place = iter(operands), lowering.draft.place

    def shared(_: Node) -> Any:
        value = next(operand)
        return Units(value.ids) if isinstance(value, Units) else value

    _walk(lowering, program, shared)
    lowering.draft.place = place
    outputs = tree_map(lambda a: lowering.values[a] if isinstance(a, Node) else a, program.graph.output_node().args[0])
    if any(isinstance(leaf, Refused) for leaf in tree_leaves(outputs)):
        raise _RefusedInside
    return outputs


def _by_rule(rule: Callable[..., Any], call: Call, args: Any, kwargs: Any) -> Any:
    """What a rule makes of a call; a form of the operation that the rule does not know is refused with its place."""
    try:
        return rule(call, *args, **kwargs)
    except (GraphsparseError, _RefusedInside):
        raise
    except Exception as error:  # combinations that nobody has met
        brief = (str(error).splitlines() or [""])[0][:160]
        raise CaptureError(
            f"the rule of {call.target} takes every form of it", place=call.place or "the model",
            received=f"{type(error).__name__}: {brief}",
            way_out="give a rule of your own in extra_rules=, or export the part of the model without it",
        ) from error  # fmt: skip


def _has_kernel(target: Any, args: tuple) -> bool:
    """Whether a call reads a kernel: its connections count though what it is applied to is constant.

    The product of two parameters has none of its own: it is a number that the model computes (low-rank updates).
    """
    at = TAKES_KERNEL.get(target)
    of_two = target in PRODUCTS and at is not None and isinstance(args[at - 1], Weight)
    return at is not None and len(args) > at and isinstance(args[at], Weight) and not of_two


def _shape_only(value: Any) -> Any:
    return (
        Known(torch.empty(value.shape, dtype=value.dtype, device="meta")) if isinstance(value, torch.Tensor) else value
    )


def _refuse(lowering: Lowering, target: Any, place: str) -> Refused:
    lowering.refused[target].append(place)
    return Refused()


def _read(lowering: Lowering, reader: Node, node: Node) -> Any:
    """The value of a node as one reader sees it: units are the reader's alone only where it is the only one."""
    value = lowering.values[node]
    if isinstance(value, Weight):
        lowering.draft.read.add(lowering.draft.parameter_of(value.name))
    if isinstance(value, Units) and value.exclusive and len(node.users) > 1:
        return Units(value.ids)
    if isinstance(value, (tuple, list)) and len(node.users) > 1:
        readers = Counter(user.args[1] for user in node.users if user.target is operator.getitem)
        return type(value)(Units(v.ids) if isinstance(v, Units) and readers[i] > 1 else v for i, v in enumerate(value))
    return value


def _collect_sinks(lowering: Lowering, program: ExportedProgram) -> None:
    wanted = {
        spec.arg.name
        for spec in program.graph_signature.output_specs
        if spec.kind.name == "USER_OUTPUT" and hasattr(spec.arg, "name")
    }
    for leaf in tree_leaves(program.graph.output_node().args):
        value = lowering.values.get(leaf) if isinstance(leaf, Node) else None
        if isinstance(value, Units) and leaf.name in wanted:
            lowering.sinks.append(value.ids)


def refuse_all(lowering: Lowering, total: int) -> None:
    """Raise one error that lists every operation without a rule, how often it occurs and where first."""
    if not lowering.refused:
        return
    width = max(len(str(target)) for target in lowering.refused)
    lines = [
        f"    {target!s:<{width}}  {len(places)} call{'s' if len(places) > 1 else ' '}  at {places[0] or 'the top'}"
        + (f" and {len(set(places)) - 1} more" if len(set(places)) > 1 else "")
        for target, places in sorted(lowering.refused.items(), key=lambda item: -len(item[1]))
    ]
    raise UnsupportedOperations(
        f"{len(lowering.refused)} of {total} operations have no rule\n" + "\n".join(lines) + "\n"
        "  Add one: graphsparse.capture.rules shows how (pointwise.py is the shortest to imitate); give it as extra_rules."
    )


def require_sinks(lowering: Lowering, model: str) -> None:
    """Raise where no output depends on units: there is nothing to be connected to."""
    if not lowering.sinks:
        raise CaptureError(
            "a model must return at least one floating tensor that depends on its inputs",
            place=model,
            received="outputs that no input moves",
            way_out="return the tensor to analyse from forward",
        )

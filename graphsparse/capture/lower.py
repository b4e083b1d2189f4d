"""Reading a program as units: constants are computed, parameters stay parameters, everything else goes by the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Any, ClassVar

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.call import Call
from graphsparse.capture.draft import Draft
from graphsparse.capture.inputs import Inputs
from graphsparse.capture.mechanics.counting import carries
from graphsparse.capture.mechanics.routed import for_each_expert
from graphsparse.capture.mechanics.statistics import measured, without_statistic
from graphsparse.capture.mechanics.waiting import Scores
from graphsparse.capture.nodes import kind_of, operation_name, place_of, result_of, tensors_in
from graphsparse.capture.table import Rule, Table
from graphsparse.capture.tried import tried
from graphsparse.capture.units import NOTHING
from graphsparse.capture.values import Known, Units, Weight, unknown
from graphsparse.capture.walk import REFUSED, RefusedInside, Walk, read
from graphsparse.capture.weights import compute, transform
from graphsparse.errors import CaptureError, GraphsparseError, brief


@dataclass
class Lowering:
    """A reading that makes units. ``names`` gives each captured parameter the name that the graph uses for it."""

    draft: Draft
    names: Mapping[str, str]
    inputs: Inputs
    used: Counter[str] = field(default_factory=Counter)
    sinks: list[torch.Tensor] = field(default_factory=list)
    lack: ClassVar[str] = "have no rule"
    way_out: ClassVar[str] = "Add one, as docs/CONTRIBUTING.md shows (An operation), and give it as extra_rules."

    def knows(self, row: Rule) -> bool:
        """Whether there is a rule for units."""
        return row.apply is not None

    def parameter(self, name: str, example: torch.Tensor) -> Weight:
        """A weight: a view of the whole parameter."""
        return Weight(self.names.get(name, name), torch.empty(example.shape, device="meta"))

    def constant(self, tensor: torch.Tensor) -> Known:
        """The tensor itself."""
        return Known.of(tensor)

    def given(self, name: str, example: Any) -> Any:
        """A source, tokens or a constant, as was decided for each input."""
        return self.inputs.value(self.draft, name)

    def call(self, node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any], walk: Walk) -> Any:
        """Compute what no input moves, keep what is made of parameters alone, and rule everything else."""
        leaves, usage = tree_leaves((args, kwargs)), self.draft.usage
        weights = [leaf for leaf in leaves if isinstance(leaf, Weight)]
        usage.read |= {usage.parameter_of(weight.name) for weight in weights}
        self.draft.place = (place_of(node)[0], operation_name(node.target))
        moved = any(isinstance(leaf, (Units, GraphModule)) for leaf in leaves)
        if not moved and not (weights and _applies_kernel(row, args, leaves)):
            if not weights:
                return compute(node, row, args, kwargs)
            if row.weights or row.product or self.draft.room < inf:  # trying is much work: not for a stranger's file
                return transform(node, row, args, kwargs)
            return tried(node, args, kwargs)
        if kind_of(node) != "number":
            if not carries(node, walk.values):
                return tree_map(unknown, node.meta.get("val"))
            row = replace(row, apply=row.counts or row.apply)
        return REFUSED if row.apply is None else self._ruled(node, row, args, kwargs, walk)

    def _ruled(self, node: Node, row: Rule, args: tuple[Any, ...], kwargs: dict[str, Any], walk: Walk) -> Any:
        place, called = self.draft.place

        def inside(program: GraphModule, operands: Sequence[Any]) -> Any:
            made = walk.body(program, operands)
            self.draft.place = (place, called)
            return made

        call = Call(self.draft, node.target, *result_of(node), place, place_of(node)[1], body=inside)
        try:
            value = _applied(row, call, args, kwargs)
        except (GraphsparseError, RefusedInside):
            raise
        except Exception as error:  # combinations that nobody has met
            raise CaptureError(
                f"the rule of {call.target} must take every form of it", place=call.place or "the model",
                received=brief(error),
                way_out="give a rule of your own in extra_rules=, or export the part of the model without it",
            ) from error  # fmt: skip
        results = node.meta.get("val")
        if isinstance(value, (Units, Weight, Known)) and isinstance(results, (tuple, list)):
            value = (value, *map(unknown, results[1:]))  # the rule says what the first is
        _require_fit(call, value, results)
        self.used[called] += 1
        return value


def _require_fit(call: Call, made: Any, results: Any) -> None:
    """Raise where a rule makes something else of a result than a value of its shape."""
    values, wanted = tree_leaves(made), tensors_in(results)
    for value, result in zip(values, wanted) if len(values) == len(wanted) else ():
        shape = tuple(value.shape) if isinstance(value, (Units, Weight, Known)) else None
        if shape != tuple(result.shape):
            raise CaptureError(
                f"the rule of {call.target} must return a value of shape {tuple(result.shape)}",
                place=call.place or "the model", received=shape if shape is not None else type(value).__name__,
            )  # fmt: skip


def lower(
    program: ExportedProgram, table: Table, start: Callable[[], Lowering], model_name: str
) -> tuple[Walk, Lowering]:
    """Read a program as units. ``start`` makes an empty reading, one for each time that operations are taken apart.

    Raises:
        UnsupportedOperations: operations without a rule, all of them, with counts and module paths.
        CaptureError: a rule does not know a form of its operation, or no output depends on units.
    """
    walk, lowering = read(program, table, lambda _: start())
    lowering.sinks += [value.ids for value in walk.outputs() if isinstance(value, Units)]
    if not any(ids.numel() == 0 or bool((ids > NOTHING).any()) for ids in lowering.sinks):
        raise CaptureError(
            "a model must return at least one floating tensor that depends on its inputs", place=model_name,
            received="outputs that no input moves", way_out="return the tensor to analyse from forward",
        )  # fmt: skip
    return walk, lowering


def _applies_kernel(row: Rule, args: tuple[Any, ...], leaves: list[Any]) -> bool:
    """Whether a call that no input moves has connections: a table read by tokens, or a kernel applied to constants.

    The product of two parameters has none of its own: it is a number that the model computes (low-rank updates).
    """
    at = row.kernel_at
    if row.apply is None:
        return False
    has_kernel = at is not None and len(args) > at and isinstance(args[at], Weight)
    if at is not None and has_kernel and not (row.product and isinstance(args[at - 1], Weight)):
        return True
    return any(isinstance(leaf, Known) and leaf.token for leaf in leaves)


def _applied(row: Rule, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a row makes of a call.

    A product that waits for its softmax waits on, where the row says how. Experts are taken one by one. Statistics of a
    normalisation are left out, where they are no connections.
    """
    scores = next((a for a in args if isinstance(a, Scores)), None)
    if scores is not None and row.waits is not None:
        parts = row.waits(call, scores.parts, *args, **kwargs)
        if parts is not None:
            return scores.but(parts)
    if row.per_expert:
        made = for_each_expert(partial(_in_place, row), call, args, kwargs, row.per_expert == "splits")
        if made is not NotImplemented:
            return made
    return _in_place(row, call, *args, **kwargs)


def _in_place(row: Rule, call: Call, *args: Any, **kwargs: Any) -> Any:
    """The rule, with regard to the module that the call stands in."""
    assert row.apply is not None, "an operation without a rule is refused"
    made = NotImplemented
    if row.norm and call.in_norm:
        made = measured(row.apply, call, args, kwargs) if row.norm == "measures" else without_statistic(call, args)
    return row.apply(call, *args, **kwargs) if made is NotImplemented else made

"""Reading a program as signals: every operation is replaced by its linear, non-negative counterpart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.constants import compute
from graphsparse.capture.nodes import is_constant, is_norm, place_of, result_of
from graphsparse.capture.table import Rule as Row
from graphsparse.capture.table import Table
from graphsparse.capture.values import Known
from graphsparse.capture.walk import REFUSED, Walk, read
from graphsparse.pruning import flow_rules as rules
from graphsparse.pruning.flow import Call, Flow, Rule

FLOWS: Mapping[str, Rule] = {
    "keeps": rules.keep,
    "moves": rules.move,
    "reshapes": rules.reshape,
    "function": rules.function,
    "adds": rules.add,
    "multiplies": rules.multiply,
    "divides": rules.divide,
    "layer": rules.layer,
    "adds product": rules.add_product,
    "averages": rules.mean_over,
    "extremum": rules.extremum,
    "fills": rules.fill,
    "chooses": rules.choose,
    "pads": rules.pad,
    "enlarges": rules.enlarge,
    "softmax": rules.softmax,
    "attention": rules.attention,
    "normalises": rules.normalise,
    "batch norm": rules.batch_norm,
    "embedding": rules.embedding,
    **{f"maximum {n}d": rules.maximum_pool(n) for n in (1, 2, 3)},
    **{f"maximum {n}d, index": rules.with_index(rules.maximum_pool(n)) for n in (2, 3)},
    **{f"adaptive maximum {n}d": rules.adaptive_pool(n) for n in (1, 2, 3)},
}


def flow_of(row: Row) -> Rule | None:
    """The linear counterpart of an operation; None where there is none.

    What only moves parameters does the same to signals, so such a row need not say how it flows.
    """
    if callable(row.flows):
        return row.flows
    plain = row.weights if row.weights in ("keeps", "moves", "reshapes") else ""
    return FLOWS.get(row.flows or plain)


@dataclass(frozen=True, eq=False)
class Signals:
    """A reading in which inputs are one everywhere, kernels are signals too, and all other parameters are constants."""

    program: ExportedProgram
    kernels: Mapping[str, torch.Tensor]
    lack: ClassVar[str] = "have no linear form for SynFlow"
    way_out: ClassVar[str] = "Use another method, or give the operation a Rule(..., flows=...) in extra_rules."

    def knows(self, row: Row) -> bool:
        """Whether there is a linear counterpart."""
        return flow_of(row) is not None

    def parameter(self, name: str, example: torch.Tensor) -> Flow | Known:
        """A kernel as a signal, any other parameter as a constant."""
        found = self.kernels.get(name)
        return self.constant(self.program.state_dict[name]) if found is None else Flow(found)

    def constant(self, tensor: torch.Tensor) -> Known:
        """The tensor where the kernels are, and in their precision."""
        like = next(iter(self.kernels.values()))
        tensor = tensor.detach().to(like.device)
        return Known(tensor.to(like.dtype) if tensor.is_floating_point() else tensor)

    def given(self, name: str, example: Any) -> Any:
        """A floating input is one everywhere, integers are tokens."""
        if not isinstance(example, torch.Tensor):
            return example
        if example.is_floating_point():
            return Flow(next(iter(self.kernels.values())).new_ones(example.shape))
        return replace(self.constant(example), token=name)

    def call(self, node: Node, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any], walk: Walk) -> Any:
        """Compute what no signal reaches, and integers; let signals through the operation's linear counterpart."""
        if not any(isinstance(leaf, (Flow, GraphModule)) for leaf in tree_leaves((args, kwargs))):
            return self._constants(compute(node, row, args, kwargs))
        if is_constant(node):
            as_known = tree_map(lambda leaf: Known(leaf.value) if isinstance(leaf, Flow) else leaf, (args, kwargs))
            return self._constants(compute(node, row, *as_known))
        flow = flow_of(row)
        if flow is None:
            return REFUSED
        plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
        call = Call(node.target, result_of(node)[0], is_norm(place_of(node)[1]))
        return self._constants(flow(call, *plain_args, **plain_kwargs))

    def _constants(self, made: Any) -> Any:
        """A result whose tensors are constants of this reading."""

        def constant(leaf: Any) -> Any:
            if isinstance(leaf, Known):
                return replace(self.constant(leaf.tensor), token=leaf.token)
            return self.constant(leaf) if isinstance(leaf, torch.Tensor) else leaf

        return tree_map(constant, made)


def _plain(value: Any) -> Any:
    """A constant as its tensor; tokens stay what they are."""
    return value.tensor if isinstance(value, Known) and value.token is None else value


def signals_through(program: ExportedProgram, kernels: Mapping[str, torch.Tensor], table: Table) -> Walk:
    """Let signals through a program, in which operations without a linear counterpart are taken apart.

    Args:
        program: a functional captured model, in evaluation mode.
        kernels: non-negative tensors for the program's parameters of these names; the rest is as stored.
        table: the rows of the operations.

    Raises:
        UnsupportedOperations: operations that signals reach and that have no linear counterpart.
    """
    walk, _ = read(program, table, lambda program: Signals(program, kernels))
    return walk

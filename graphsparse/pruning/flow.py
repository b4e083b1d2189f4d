"""Synaptic flow of a captured model: every operation replaced by its linear, non-negative counterpart.

SynFlow scores a weight by its part in R = 1' |W_L| ... |W_1| 1, a number that leaves the range of float32 on any deep
network and that of float64 on a very deep one. Here an activation is a tensor of greatest entry 1 and the logarithm of
its true scale; sums bring their operands to one scale first. R is homogeneous in the activations of each layer, so the
gradients of the rescaled R are those of the true one but for a single factor common to all weights, and they are of
moderate size themselves: over each layer activation times gradient adds up to R ("conservation of synaptic saliency",
Tanaka et al., NeurIPS 2020, theorem 2).
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.errors import UnsupportedOperations


@dataclass(frozen=True, eq=False)
class Flow:
    """A non-negative signal; the true values are ``value * exp(scale)``."""

    value: torch.Tensor
    scale: float = 0.0

    def settled(self) -> Flow:
        """The same signal with greatest entry 1, unless it is zero everywhere."""
        peak = self.value.detach().amax() if self.value.numel() else self.value.new_zeros(())
        if not bool(peak > 0):
            return self
        return Flow(self.value / peak, self.scale + float(peak.log()))


@dataclass(frozen=True, eq=False)
class Tokens:
    """Integers of the model's inputs, wherever they were moved: any index may stand in their place."""

    tensor: torch.Tensor


@dataclass(frozen=True, eq=False)
class Call:
    """An operation of the program as a rule sees it."""

    target: Any
    shape: torch.Size
    in_norm: bool


Rule = Callable[..., Any]


def synaptic_flow(
    program: ExportedProgram, kernels: Mapping[str, torch.Tensor], rules: Mapping[Any, Rule]
) -> torch.Tensor:
    """R of the program, up to a factor, as a scalar to be differentiated with respect to `kernels`.

    Every floating input is one everywhere, biases and other constants are left out, and non-linear operations are as
    `rules` says.

    Args:
        program: a functional captured model, in evaluation mode.
        kernels: non-negative tensors for the program's parameters of these names; the rest is as stored.
        rules: `graphsparse.pruning.flow_table.RULES`.

    Raises:
        UnsupportedOperations: operations that signals go through and that have no rule.
    """
    values: dict[Node, Any] = {}
    refused: Counter[str] = Counter()
    precision = next(iter(kernels.values())).dtype
    read_input = _inputs(program, kernels)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node] = read_input(node)
        elif node.op == "get_attr":
            values[node] = getattr(program.graph_module, node.target)
        elif node.op == "call_function":
            values[node] = _in_precision(_evaluate(node, values, rules, refused), precision)
        else:
            outputs = [values[leaf] for leaf in tree_leaves(node.args) if isinstance(leaf, Node)]
    if refused:
        listed = ", ".join(f"{name} ({count})" for name, count in refused.items())
        raise UnsupportedOperations(
            "SynFlow has no linear form of some operations", received=listed, way_out="use another method"
        )
    return total([value for value in outputs if isinstance(value, Flow)], next(iter(kernels.values())))


def total(flows: list[Flow], like: torch.Tensor) -> torch.Tensor:
    """The sum over all entries of all signals, on the greatest scale among them."""
    top = max((flow.scale for flow in flows), default=0.0)
    return sum((flow.value.sum() * _exp(flow.scale - top) for flow in flows), like.new_zeros(()))


def aligned(values: Any) -> tuple[Any, float]:
    """Plain tensors of all signals in a structure, brought to one scale, and that scale; constants become zero."""
    flows = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Flow) and bool(leaf.value.detach().any())]
    top = max((flow.scale for flow in flows), default=0.0)

    def plain(leaf: Any) -> Any:
        if isinstance(leaf, Flow):
            return leaf.value * _exp(min(leaf.scale - top, 0.0))
        if isinstance(leaf, Tokens):
            return leaf.tensor
        return torch.zeros_like(leaf) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    return tree_map(plain, values), top


def _exp(log: float) -> float:
    return float(torch.tensor(log, dtype=torch.float64).exp())


def _in_precision(value: Any, dtype: torch.dtype) -> Any:
    """Signals and constants that the program makes itself (a recurrent network's first state) in one precision."""

    def cast(leaf: Any) -> Any:
        if isinstance(leaf, Flow):
            return leaf if leaf.value.dtype == dtype else Flow(leaf.value.to(dtype), leaf.scale)
        return leaf.to(dtype) if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    return tree_map(cast, value)


def _evaluate(node: Node, values: Mapping[Node, Any], rules: Mapping[Any, Rule], refused: Counter[str]) -> Any:
    args, kwargs = tree_map(lambda a: values[a] if isinstance(a, Node) else a, (node.args, dict(node.kwargs)))
    leaves = tree_leaves((args, kwargs))
    if isinstance(node.target, torch._ops.OpOverload) and not node.target._schema.returns:
        return None  # a check of types and sizes, which are others here
    if node.target is operator.getitem:
        return args[0][args[1]] if isinstance(args[0], (tuple, list)) else args[0]
    result = next((r for r in tree_leaves(node.meta.get("val")) if isinstance(r, torch.Tensor)), None)
    if not any(isinstance(leaf, Flow) for leaf in leaves):
        return _compute(node, args, kwargs, rules)
    if result is not None and not (result.is_floating_point() or result.is_complex()):
        return node.target(*_raw(args), **_raw(kwargs))  # type: ignore[operator]
    if node.target not in rules:
        refused[str(node.target)] += 1
        return Flow(torch.ones(result.shape if result is not None else (), dtype=torch.float64))
    return rules[node.target](
        Call(node.target, result.shape if result is not None else torch.Size(), _in_norm(node)), *args, **kwargs
    )


def _compute(node: Node, args: Any, kwargs: Any, rules: Mapping[Any, Rule]) -> Any:
    """A constant, or tokens on the move; an operation with a rule of its own for moving keeps tokens tokens."""
    tokens = any(isinstance(leaf, Tokens) for leaf in tree_leaves((args, kwargs)))
    result = node.target(*_raw(args), **_raw(kwargs))  # type: ignore[operator]
    moved = tokens and node.target in rules and isinstance(result, torch.Tensor) and not result.is_floating_point()
    return Tokens(result) if moved else result


def _raw(values: Any) -> Any:
    """The numbers as they stand; devices other than the CPU do not matter to shapes and masks."""
    kinds = {Flow: lambda v: v.value, Tokens: lambda v: v.tensor}
    return tree_map(lambda leaf: kinds[type(leaf)](leaf) if type(leaf) in kinds else leaf, values)


def _in_norm(node: Node) -> bool:
    """Whether the call stands in a module named *Norm*, whose statistics are no connections."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    kind = stack[-1][1] if stack else ""
    return "norm" in (kind if isinstance(kind, str) else kind.__name__).rsplit(".", 1)[-1].lower()


def _inputs(program: ExportedProgram, kernels: Mapping[str, torch.Tensor]) -> Callable[[Node], Any]:
    signature = program.graph_signature
    sample = next(iter(kernels.values()))
    examples = dict(zip(signature.user_inputs, tree_leaves(program.example_inputs or ())))

    def read(node: Node) -> Any:
        if node.name in signature.inputs_to_parameters:
            name = signature.inputs_to_parameters[node.name]
            return Flow(kernels[name]) if name in kernels else _constant(program.state_dict[name], sample)
        if node.name in signature.inputs_to_buffers:
            name = signature.inputs_to_buffers[node.name]
            stored = program.state_dict.get(name)
            return _constant(program.constants[name] if stored is None else stored, sample)
        if node.name in signature.inputs_to_lifted_tensor_constants:
            return _constant(program.constants[signature.inputs_to_lifted_tensor_constants[node.name]], sample)
        example = examples.get(node.name)
        if not isinstance(example, torch.Tensor):
            return example
        if example.is_floating_point():
            return Flow(sample.new_ones(example.shape))
        return Tokens(example.to(sample.device))

    return read


def _constant(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().to(like.device)
    return tensor.to(like.dtype) if tensor.is_floating_point() else tensor

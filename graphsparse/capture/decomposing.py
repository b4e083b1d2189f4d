"""Operations of a program replaced by simpler ones, where torch knows how."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch._decomp import core_aten_decompositions, decomposition_table
from torch._guards import detect_fake_mode
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature
from torch.fx import Graph, GraphModule, Node
from torch.fx._lazy_graph_module import _make_graph_module
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves, tree_map

from graphsparse.capture.nodes import tensors_in
from graphsparse.capture.quiet import tracing

Apart = Mapping[Any, Callable[..., Any]]
"""How each operation is computed by simpler ones."""


def decomposed(program: ExportedProgram, operations: Collection[Any]) -> ExportedProgram | None:
    """The program with these operations taken apart, as far as torch can; None where it can take none apart."""
    known = core_aten_decompositions() if operations else {}  # it takes 16 ms
    found = {each: known.get(each) or _composite(each) for each in operations}
    table = {each: apart for each, apart in found.items() if apart is not None}
    if not table:
        return None
    with tracing(apart=table):
        return _with_parts(program, table) or program.run_decompositions(dict(table))


def _composite(operation: Any) -> Any:
    """How torch itself takes an operation apart; looked up now, since run_decompositions puts the table in its place."""
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    if isinstance(operation, torch._ops.OpOverload):
        if composite in operation.py_kernels:
            return operation.py_kernels[composite]
        if operation.has_kernel_for_dispatch_key(composite):
            return partial(operation._op_dk, composite)
    return decomposition_table.get(operation)


def _with_parts(program: ExportedProgram, table: Apart) -> ExportedProgram | None:
    """The program with the parts of each such call in its place, the other calls as they are: torch would trace all anew.

    None where a call stands in a program inside the program, or its parts are not plain calls.
    """
    module, made = program.graph_module, Graph()
    inner = [each for each in module.modules() if isinstance(each, GraphModule) and each is not module]
    if any(node.target in table for each in inner for node in each.graph.nodes):
        return None
    now: dict[Node, Any] = {}
    known: dict[Any, GraphModule] = {}
    for node in module.graph.nodes:
        if node.target in table:
            parts = _parts(node, table, known)
            if parts is None:
                return None
            tensors = [now[leaf] for leaf in tree_leaves((node.args, dict(node.kwargs))) if isinstance(leaf, Node)]
            operands = dict(zip(parts.graph.find_nodes(op="placeholder"), tensors, strict=True))
            now[node] = made.graph_copy(parts.graph, operands)
        elif node.target is operator.getitem and isinstance(now[node.args[0]], (tuple, list)):
            now[node] = now[node.args[0]][node.args[1]]  # one of the results of such a call
        else:
            now[node] = made.node_copy(node, now.__getitem__)
            if node.op == "placeholder":
                now[node].name = node.name  # the signature goes by it; a copy of "input" would be called "input_1"
    whole = _make_graph_module(module, made)
    whole.meta.update(module.meta)
    return program._update(whole, _renamed(program, now))


def _parts(node: Node, table: Apart, known: dict[Any, GraphModule]) -> GraphModule | None:
    """The simpler calls that a call consists of, as a program of its tensors; None where one writes to a tensor."""
    given = tree_map(lambda a: a.meta["val"] if isinstance(a, Node) else a, (node.args, dict(node.kwargs)))
    key = node.target, repr(tree_map(_layout, given))
    if key not in known:
        tensors = tensors_in(given)

        def run(*others: torch.Tensor) -> Any:
            other = iter(others)
            args, kwargs = tree_map(lambda leaf: next(other) if isinstance(leaf, torch.Tensor) else leaf, given)
            return table[node.target](*args, **kwargs)

        try:
            with detect_fake_mode(tensors) or nullcontext():  # what parts make themselves has no values either
                known[key] = make_fx(run, dict(table))(*tensors)
        except Exception:  # what torch cannot trace alone it may trace with all around it
            return None
    for each in known[key].graph.nodes:
        each.meta = {**each.meta, "nn_module_stack": node.meta.get("nn_module_stack")}
    return known[key] if all(map(_is_plain, known[key].graph.nodes)) else None


def _layout(value: Any) -> Any:
    return (value.shape, value.stride(), value.dtype, value.device) if isinstance(value, torch.Tensor) else value


def _is_plain(node: Node) -> bool:
    """Whether a node is an input, the output, or a call that writes to nothing and is of no backend (oneDNN's LSTM)."""
    if node.op != "call_function":
        return node.op in ("placeholder", "output")
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.target is operator.getitem
    return not node.target._schema.is_mutable and "mkldnn" not in str(node.target)


def _renamed(program: ExportedProgram, now: Mapping[Node, Any]) -> ExportGraphSignature:
    """The program's signature, its outputs under the names of their new nodes."""
    names = {node.name: each.name for node, each in now.items() if isinstance(each, Node)}
    signature = program.graph_signature
    renamed = [replace(spec.arg, name=names.get(spec.arg.name, spec.arg.name)) for spec in signature.output_specs]
    outputs = [replace(spec, arg=arg) for spec, arg in zip(signature.output_specs, renamed, strict=True)]
    return replace(signature, output_specs=outputs)

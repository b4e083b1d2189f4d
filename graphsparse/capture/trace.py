"""What people give, a model and example inputs, as a functional program of aten operations, by torch.export.

Where that fails, one sentence says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_map

from graphsparse.capture.nodes import reached, same_sizes, tensors_in, told_shapes
from graphsparse.capture.quiet import quiet, same_random_state, tracing
from graphsparse.capture.samples import batch_size, first_samples
from graphsparse.errors import CaptureError, brief


def require_module(model: Any) -> None:
    """Raise CaptureError where a model is no module, or one that torch.export does not take."""
    way_out = "give the torch.nn.Module itself"
    if not isinstance(model, nn.Module):
        raise CaptureError(
            "a model must be a torch.nn.Module or an exported program",
            received=model.__name__ if isinstance(model, type) else type(model).__name__,
            way_out=f"{way_out}, not its state dict, its class or a function",
        )
    # not by model.modules(), which calls itself for each module in another: nobody knows yet how deep they are nested
    modules = reached([model], nn.Module.children)
    if any(hasattr(tensor, "device_mesh") for each in modules for tensor in each._parameters.values()):
        spread = next(name for name, tensor in model.named_parameters() if hasattr(tensor, "device_mesh"))
        raise CaptureError(
            "a model must hold its parameters whole", place=spread, received="one spread over processes (DTensor)",
            way_out="make the network before the model is sharded: network = graphsparse.network(model, example_inputs)",
        )  # fmt: skip
    scripted = next((each for each in modules if isinstance(each, torch.jit.ScriptModule)), None)
    if scripted is not None:
        raise CaptureError(
            "a model must not be TorchScript, nor a module in it", place=type(model).__name__,
            received=type(scripted).__name__, way_out=f"{way_out} that was scripted",
        )  # fmt: skip


def as_arguments(example_inputs: Any, kwargs: Any) -> tuple[tuple[Any, ...] | None, dict[str, Any]]:
    """The arguments of a forward, by place and by keyword. Raises CaptureError where ``kwargs`` is no mapping."""
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise CaptureError(
            "kwargs must be a mapping of names to inputs", received=type(kwargs).__name__,
            way_out="give kwargs={name: tensor}, or example_inputs= for inputs by their place",
        )  # fmt: skip
    if example_inputs is not None and not isinstance(example_inputs, (tuple, list)):
        example_inputs = (example_inputs,)
    return None if example_inputs is None else tuple(example_inputs), dict(kwargs or {})


def with_examples(program: ExportedProgram, example_inputs: Any, kwargs: Any) -> ExportedProgram:
    """The program with its own inputs, or with these where it has none. Raises CaptureError where these do not fit."""
    args, kwargs = as_arguments(example_inputs, kwargs)
    if args is None and not kwargs:
        return program
    if program.example_inputs is not None:
        _require_inputs(program, args, kwargs)
        return program
    _, named = program.call_spec.in_spec.children()
    ordered = {name: kwargs[name] for name in (*named.context, *kwargs) if name in kwargs}
    _require_inputs(program, args, ordered)
    found = copy(program)
    try:
        found.example_inputs = (args or (), ordered)
    except ValueError as error:
        raise CaptureError(
            "the inputs of a captured program must be arranged as those that it was captured with", received=brief(error),
            way_out="give example_inputs= for inputs by their place, and kwargs={name: tensor} for others",
        ) from error  # fmt: skip
    return found


def _require_inputs(program: ExportedProgram, args: tuple[Any, ...] | None, kwargs: Mapping[str, Any]) -> None:
    values = {node.name: node.meta.get("val") for node in program.graph.find_nodes(op="placeholder")}
    taken = [values[name] for name in program.graph_signature.user_inputs if name in values]
    named = dict(program.example_inputs[1]) if program.example_inputs else {}
    given = [*(args or ()), *(kwargs[name] for name in (*named, *(kwargs.keys() - named.keys())) if name in kwargs)]
    sides = tensors_in(taken), tensors_in(given)
    same = (a.dtype == b.dtype and same_sizes(a.shape, b.shape) for a, b in zip(*sides, strict=False))
    if len(sides[0]) != len(sides[1]) or not all(same):
        raise CaptureError(
            f"the inputs of a captured program must be those that it was captured with: {told_shapes(taken)}",
            received=told_shapes(given), way_out="leave them out, or give the module itself as the model",
        )  # fmt: skip


def trace(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], batch_axis: int | None) -> ExportedProgram:
    """Capture the model, one sample at a time where it allows that (samples do not interact, so one shows everything)."""
    whole = tuple(args), dict(kwargs)
    samples = batch_size(tensors_in(whole), batch_axis)
    if samples == 0:
        raise CaptureError(
            "example inputs must hold at least one sample", place=type(model).__name__, received=told_shapes([*args, *kwargs.values()]),
            way_out=f"give example_inputs= with one entry or more along axis {batch_axis}",
        )  # fmt: skip
    try:
        return _capture(model, *first_samples(whole, batch_axis, samples))
    except Exception as error:
        first = error
    try:
        return _capture(model, *whole)
    except Exception:
        raise _explained(first, model, args, kwargs) from first


def _capture(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ExportedProgram:
    if any(tensor.is_meta for tensor in model.parameters()):
        args, kwargs = _on_meta((args, kwargs))
    args, kwargs = _apart((args, kwargs))
    with same_random_state(), tracing():
        try:
            return _functional(torch.export.export(model, args, kwargs, strict=False))
        except IndexError:  # torch 2.13 loses count of arguments where a model enables gradients inside no_grad
            with torch.enable_grad():
                return _functional(torch.export.export(model, args, kwargs, strict=False))


def _on_meta(value: Any) -> Any:
    """The same structure with every tensor on the meta device, where the model is."""
    return tree_map(lambda leaf: leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf, value)


def _apart(value: Any) -> Any:
    """The same structure, no tensor in it twice: torch.export takes one tensor in two places for one input."""
    seen: set[int] = set()

    def once(leaf: Any) -> Any:
        again = isinstance(leaf, torch.Tensor) and id(leaf) in seen
        seen.add(id(leaf))
        return leaf.clone() if again else leaf

    return tree_map(once, value)


def settled(program: ExportedProgram, batch_axis: int | None) -> ExportedProgram:
    """A program as it is given, functional; one whose sizes were left open is captured again at those of its example.

    Raises CaptureError where it has no example inputs: what they are decides what is a source and what is fixed.
    """
    if program.example_inputs is None and program.graph_signature.user_inputs:
        raise CaptureError(
            "a captured program must have example inputs", place="the program", received="none",
            way_out="give example_inputs=, of the shapes and types that it was captured with",
        )  # fmt: skip
    if not any(map(_is_open, program.graph.nodes)):
        return _functional(program)
    args, kwargs = program.example_inputs or ((), {})
    return trace(program.module(), args, kwargs, batch_axis)


def _is_open(node: Node) -> bool:
    """Whether a value has a size that is not fixed, or is such a size itself."""
    value = node.meta.get("val")
    sizes = value.shape if isinstance(value, torch.Tensor) else ()
    return any(isinstance(size, torch.SymInt) for size in sizes) or node.op == "call_function" and type(value) is int


def _functional(program: ExportedProgram) -> ExportedProgram:
    """The program without in-place operations and training's forms. Torch traces all again, so only where need be."""
    modules = [module for module in program.graph_module.modules() if isinstance(module, GraphModule)]
    targets = {node.target for each in modules for node in each.graph.nodes if node.op == "call_function"}
    if not any(map(_is_unsettled, targets)):
        return program
    with tracing():
        return program.run_decompositions({})  # composite operations stay whole


def _is_unsettled(target: Any) -> bool:
    """Whether a call writes to a tensor that others may read, or is none of torch's operations but a function around some."""
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.is_mutable
    return not isinstance(target, torch._ops.HigherOrderOperator) and getattr(target, "__module__", "") != "_operator"


def _explained(error: Exception, model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> CaptureError:
    """What to do about it, not torch's own report."""
    text = f"{type(error).__name__}: {error}"
    shapes = ", ".join(str(tuple(a.shape)) if isinstance(a, torch.Tensor) else type(a).__name__ for a in args)
    said = _first_line(error)
    misfit = any(word in text for word in ("shape", "size", "channels", "dim", "positional argument", "missing"))
    if any(
        word in text for word in ("GuardOnDataDependent", "data-dependent", "unbacked", "Could not guard", "FakeTensor")
    ):
        rule = "the model's control flow must not depend on the values of its inputs"
        way_out = "export the branch that you want to analyse, or rewrite the test with torch.where or torch.cond"
    elif misfit or _refuses(model, args, kwargs, said):
        rule = "the example inputs must be ones that the model's forward accepts"
        way_out = "give example_inputs=, of the shapes and types that the model's forward takes"
    else:
        rule = "torch.export must be able to capture the model"
        way_out = "try model(*example_inputs) and then torch.export.export(model, example_inputs, strict=False)"
    return CaptureError(
        rule, place=type(model).__name__, received=f"inputs of shape {shapes or 'none'}: {said}", way_out=way_out
    )


def _refuses(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], said: str) -> bool:
    """Whether the model's own forward ends in the same error. It runs on the meta device, where nothing is computed."""
    state = {name: tensor.detach().to("meta") for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    try:
        with quiet(), same_random_state(), torch.no_grad():
            torch.func.functional_call(model, state, tuple(_on_meta(args)), _on_meta(dict(kwargs)))
    except Exception as error:
        return _first_line(error) == said
    return False


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text[:200].rstrip(".")

"""Models and example inputs as people give them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.nodes import reached, same_sizes, tensors_in, told_shapes
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
    spread = next((name for name, tensor in model.named_parameters() if hasattr(tensor, "device_mesh")), None)
    if spread is not None:
        raise CaptureError(
            "a model must hold its parameters whole", place=spread, received="one spread over processes (DTensor)",
            way_out="make the network before the model is sharded: network = graphsparse.network(model, example_inputs)",
        )  # fmt: skip
    # not model.modules(), which calls itself for each module in another: how deep they are nested is not known yet
    scripted = next((m for m in reached([model], nn.Module.children) if isinstance(m, torch.jit.ScriptModule)), None)
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
    """The program with its own inputs, or with these where it brings none. Raises CaptureError where these do not fit it."""
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
    sides = [tensors_in(side) for side in (taken, given)]
    same = (a.dtype == b.dtype and same_sizes(a.shape, b.shape) for a, b in zip(*sides, strict=False))
    if len(sides[0]) != len(sides[1]) or not all(same):
        raise CaptureError(
            f"the inputs of a captured program must be those that it was captured with: {told_shapes(taken)}",
            received=told_shapes(given), way_out="leave them out, or give the module itself as the model",
        )  # fmt: skip

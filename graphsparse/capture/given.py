"""Example inputs as people give them: the arguments of a forward, or of a program that was captured with others."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from graphsparse.errors import CaptureError, brief


def as_args(example_inputs: Any) -> tuple[Any, ...] | None:
    """Example inputs as the positional arguments of a forward."""
    if example_inputs is None:
        return None
    return tuple(example_inputs) if isinstance(example_inputs, (tuple, list)) else (example_inputs,)


def as_kwargs(kwargs: Any) -> dict[str, Any]:
    """Keyword arguments of a forward. Raises CaptureError where they are no mapping."""
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise CaptureError(
            "kwargs must be a mapping of names to inputs", received=type(kwargs).__name__,
            way_out="give kwargs={name: tensor}, or example_inputs= for inputs by their place",
        )  # fmt: skip
    return dict(kwargs or {})


def with_examples(program: ExportedProgram, args: tuple[Any, ...] | None, kwargs: Mapping[str, Any]) -> ExportedProgram:
    """The program itself, which brings its inputs; or with these inputs where it brings none.

    Raises CaptureError where they are not of the shapes and types, or not under the names, that it was captured with.
    """
    if args is None and not kwargs:
        return program
    if program.example_inputs is not None:
        require_inputs(program, args, kwargs)
        return program
    _, named = program.call_spec.in_spec.children()
    ordered = {name: kwargs[name] for name in (*named.context, *kwargs) if name in kwargs}
    require_inputs(program, args, ordered)
    found = copy(program)
    try:
        found.example_inputs = (args or (), ordered)
    except ValueError as error:
        raise CaptureError(
            "the inputs of a captured program must be arranged as those that it was captured with", received=brief(error),
            way_out="give example_inputs= for inputs by their place, and kwargs={name: tensor} for others",
        ) from error  # fmt: skip
    return found


def require_inputs(program: ExportedProgram, args: tuple[Any, ...] | None, kwargs: Mapping[str, Any]) -> None:
    """Raise CaptureError where inputs are not of the shapes and types that a program was captured with."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    taken = [values[name] for name in program.graph_signature.user_inputs if name in values]
    named = dict(program.example_inputs[1]) if program.example_inputs else {}
    given = [*(args or ()), *(kwargs[name] for name in (*named, *(kwargs.keys() - named.keys())) if name in kwargs)]
    sides = [[leaf for leaf in tree_leaves(side) if isinstance(leaf, torch.Tensor)] for side in (taken, given)]
    if len(sides[0]) != len(sides[1]) or not all(map(_agree, *sides)):
        wanted, received = (", ".join(map(_told, side)) or "no tensor" for side in sides)
        raise CaptureError(
            f"the inputs of a captured program must be those that it was captured with: {wanted}", received=received,
            way_out="leave them out, or give the module itself as the model",
        )  # fmt: skip


def _agree(taken: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether a tensor has a program's type and sizes; those that the program leaves open may be any."""
    sizes = zip(taken.shape, given.shape, strict=False)
    same = all(isinstance(size, torch.SymInt) or size == other for size, other in sizes)
    return taken.dtype == given.dtype and taken.dim() == given.dim() and same


def _told(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"

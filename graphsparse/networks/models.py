"""A model by its name: package.module:factory or a .pt2 archive; and its tensors by their names."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.parameters import first_names
from graphsparse.checkpoints import open_program
from graphsparse.errors import CheckpointError, GraphsparseError, ModelError, brief

Model = nn.Module | ExportedProgram


def checked(model: Any, place: str) -> str | Model:
    """A checkpoint's model as it is given, a path as text. Raises ModelError where it is neither a model nor a name."""
    model = os.fspath(model) if isinstance(model, os.PathLike) else model
    if isinstance(model, (str, nn.Module, ExportedProgram)):
        return model
    raise ModelError(
        "the model of a checkpoint must be a torch.nn.Module, an exported program or a name", place=place,
        received=model.__name__ if isinstance(model, type) else type(model).__name__,
        way_out="give the checkpoint first, then its model, then the model's inputs: analyze(checkpoint, model, inputs)",
    )  # fmt: skip


def parameters_of(model: Model) -> dict[str, torch.Tensor]:
    """The parameters under all their names."""
    if isinstance(model, ExportedProgram):
        return {name: model.state_dict[name] for name in model.graph_signature.parameters}
    return dict(model.named_parameters(remove_duplicate=False))


def named_tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers under all their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def holder(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds what goes by a name, made where it is not there; and the last part of the name."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root, leaf


def parameter_names(model: Model) -> Mapping[str, str]:
    """The first name of each parameter, by every name of it."""
    return first_names(parameters_of(model))


def make_model(spec: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Call the factory that ``package.module:factory`` names; the current folder is searched too."""
    path, _, factory = spec.partition(":")
    if not path or not factory:
        raise ModelError(
            "a model must be named as package.module:factory, a .pt2 file, a transformers folder or 'chain'",
            received=repr(spec), way_out="for example graphsparse.zoo:lenet5",
        )  # fmt: skip
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(path), factory)(**arguments)
    except GraphsparseError:
        raise
    except Exception as error:  # the user's own code
        called = f"called with {', '.join(arguments)}" if arguments else "called without arguments"
        raise ModelError(
            f"a model's factory must run when it is imported and {called}", place=spec,
            received=brief(error, 200), way_out="check the module path, the name after the colon and the arguments",
        ) from error  # fmt: skip
    if not isinstance(made, nn.Module):
        raise ModelError("a factory must return a torch.nn.Module", place=spec, received=type(made).__name__)
    return made


STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


def make_bare(spec: str, arguments: Mapping[str, Any]) -> nn.Module | None:
    """The factory's model on the meta device, without weights.

    None where the factory cannot build it there, or where its graph may depend on values: see `needs_values`.
    """
    try:
        with torch.device("meta"):
            made = make_model(spec, arguments)
    except ModelError:  # what is really wrong shows when it is built with weights
        return None
    return made if all(parameter.is_meta for parameter in made.parameters()) and not needs_values(made) else None


def needs_values(model: nn.Module) -> bool:
    """Whether a model's graph may depend on more than the names and shapes of its parameters.

    It may depend on buffers other than those of batch normalisation, and on tensors that are plain attributes.
    """
    known = all(name.rpartition(".")[2] in STATISTICS for name, _ in model.named_buffers())
    own = any(isinstance(value, torch.Tensor) for module in model.modules() for value in vars(module).values())
    return own or not known


def read_program(path: str, trust_sizes: bool = False) -> ExportedProgram:
    """Load a torch.export archive. Nothing in it is run, and no shape in it is believed: see `graphsparse.capture.stored`.

    What it describes must have a size that the file bears out, unless sizes are trusted.

    Raises:
        CheckpointError: no such archive, damaged, inconsistent, or with parts that would have to be run.
        UnsupportedOperations: it names operations of which nothing is known.
    """
    if not Path(path).is_file():
        raise CheckpointError("a .pt2 archive must be a file", place=path, way_out="check the path")
    from graphsparse.capture.stored import build_program  # brings most of torch's compiler, which takes a second

    stored = open_program(Path(path))
    return build_program(
        stored.text, stored.weights, stored.constants, stored.example_inputs,
        place=stored.place, file_bytes=inf if trust_sizes else stored.file_bytes,
    )  # fmt: skip

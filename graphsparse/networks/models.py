"""A model by its name: package.module:factory, a .pt2 archive, or a transformers folder."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.parameters import Parameters
from graphsparse.checkpoints import open_program
from graphsparse.errors import CheckpointError, GraphsparseError, ModelError, brief
from graphsparse.networks.pretrained import ANY_SIZE, Beside, build_pretrained, is_pretrained

Model = nn.Module | ExportedProgram


def named_model(
    name: str, arguments: Mapping[str, Any], beside: Beside = ANY_SIZE, trust_sizes: bool = False
) -> tuple[Model, dict[str, Any] | None]:
    """The model of that name, and inputs for it by keyword where its folder makes them evident.

    ``beside``: the tensors that the model is for, which bound how large a folder may make it; ``trust_sizes``: let an
    archive describe activations of any size.

    Raises:
        ModelError: the name leads to no model. CheckpointError: an archive is damaged, or would have to run code.
    """
    if is_pretrained(name):
        return build_pretrained(name, beside)
    return (read_program(name, trust_sizes) if name.endswith(".pt2") else make(name, arguments)), None


def is_factory(name: str) -> bool:
    """Whether a name is one of a factory."""
    return not is_pretrained(name) and not name.endswith(".pt2")


def checked(model: Any, place: str) -> Any:
    """What is given as a checkpoint's model, a path as text. Raises ModelError where it is neither a model nor a name."""
    model = os.fspath(model) if isinstance(model, os.PathLike) else model
    if isinstance(model, (str, nn.Module, ExportedProgram)):
        return model
    raise ModelError(
        "the model of a checkpoint must be a torch.nn.Module, an exported program or a name", place=place,
        received=model.__name__ if isinstance(model, type) else type(model).__name__,
        way_out="give the checkpoint first, then its model, then the model's inputs: analyze(checkpoint, model, inputs)",
    )  # fmt: skip


def parameters_of(model: Model) -> dict[str, torch.Tensor]:
    """Every name of every parameter, tied ones too."""
    if isinstance(model, ExportedProgram):
        return {name: model.state_dict[name] for name in model.graph_signature.parameters}
    return dict(model.named_parameters(remove_duplicate=False))


def parameter_names(model: Model) -> Mapping[str, str]:
    """The first name of each parameter, by every name of it."""
    known = Parameters.of_program(model) if isinstance(model, ExportedProgram) else Parameters.of_module(model)
    return known.canonical


def make(spec: str, arguments: Mapping[str, Any]) -> nn.Module:
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
    """The factory's model on the meta device, without weights; None where it must have values.

    That is where the factory cannot build it so, or where its graph may depend on more than parameters: on buffers other
    than those of batch normalisation, or on tensors that are plain attributes.
    """
    try:
        with torch.device("meta"):
            made = make(spec, arguments)
    except ModelError:  # what is really wrong shows when it is built with weights
        return None
    return made if all(parameter.is_meta for parameter in made.parameters()) and not needs_values(made) else None


def needs_values(model: nn.Module) -> bool:
    """Whether a model's graph may depend on more than the names and shapes of its parameters."""
    known = all(name.rpartition(".")[2] in STATISTICS for name, _ in model.named_buffers())
    own = any(isinstance(value, torch.Tensor) for module in model.modules() for value in vars(module).values())
    return own or not known


def read_program(path: str, trust_sizes: bool = False) -> ExportedProgram:
    """Load a torch.export archive. Nothing in it is run, and no shape in it is believed: see `graphsparse.capture.stored`.

    What it describes must be of a size that the file bears out, unless sizes are trusted.

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

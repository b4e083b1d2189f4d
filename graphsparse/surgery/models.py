"""A model by its name: package.module:factory, a .pt2 archive, or a chain."""

from __future__ import annotations

import importlib
import os
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.checkpoints import Checkpoint
from graphsparse.checkpoints.archives.zip_directory import read_directory
from graphsparse.errors import CheckpointError, ModelError
from graphsparse.surgery.chain import build_chain

SAFE_EXPRESSION = re.compile(r"(?!.*__)(?!.*\.[A-Za-z_])[\w\s+\-*/(),.<>=&|~]*")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model with a checkpoint's weights and masks applied, and the inputs that it takes if they are known.

    ``notes`` say what was taken for granted.
    """

    model: nn.Module | ExportedProgram
    example_inputs: tuple[Any, ...] | None
    channel_only: bool = False
    notes: tuple[str, ...] = ()


def load_model(spec: str | nn.Module | ExportedProgram, checkpoint: Checkpoint | None) -> Loaded:
    """Find the model and put the checkpoint's weights on it, dropped ones as zeros.

    Raises:
        ModelError: the name leads to no model, or model and checkpoint do not fit; both sides are listed.
        CheckpointError: a .pt2 archive is damaged, or reading it would run code.
    """
    if spec == "chain":
        if checkpoint is None:
            raise ModelError("a chain is built from a state dict", received="no checkpoint")
        chained = build_chain(masked(checkpoint), checkpoint.place)
        return Loaded(chained.model, (chained.example_input,), chained.channel_only, (chained.note,))
    if isinstance(spec, str):
        spec = read_program(spec) if spec.endswith(".pt2") else make(spec)
    if checkpoint is not None:
        _fit(spec, masked(checkpoint), checkpoint.place)
    example_inputs = spec.example_inputs[0] if isinstance(spec, ExportedProgram) and spec.example_inputs else None
    return Loaded(spec, example_inputs)


def masked(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors with zeros where its masks drop them."""
    zero = {dtype: torch.zeros((), dtype=dtype) for dtype in {w.dtype for w in checkpoint.weights.values()}}
    return {
        name: torch.where(checkpoint.masks[name], weight, zero[weight.dtype]) if name in checkpoint.masks else weight
        for name, weight in checkpoint.weights.items()
    }


def make(spec: str) -> nn.Module:
    """Call the factory that ``package.module:factory`` names; the current folder is searched too."""
    path, _, factory = spec.partition(":")
    if not path or not factory:
        raise ModelError(
            "a model is named as package.module:factory, a .pt2 file or 'chain'", received=repr(spec),
            way_out="for example graphsparse.zoo:lenet5",
        )  # fmt: skip
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        made = getattr(importlib.import_module(path), factory)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ModelError(
            "a model's factory can be imported and called without arguments", place=spec,
            received=f"{type(error).__name__}: {error}", way_out="check the module path and the name after the colon",
        ) from error  # fmt: skip
    if not isinstance(made, nn.Module):
        raise ModelError("a factory returns a torch.nn.Module", place=spec, received=type(made).__name__)
    return made


def read_program(path: str) -> ExportedProgram:
    """Load a torch.export archive, after looking that nothing in it would be run.

    An archive may hold pickled script objects, and symbolic sizes that sympy would evaluate: both are refused.
    """
    members = read_directory(_existing(path), stored=False)
    if any("custom_obj" in name or "opaque" in name for name in members):
        raise _would_run(path, "pickled script objects")
    with zipfile.ZipFile(path) as archive:
        for name in members:
            if name.endswith(".json"):
                _check_expressions(archive.read(name).decode(errors="replace"), path)
    try:
        return torch.export.load(path)
    except Exception as error:  # a stranger's bytes make torch raise anything
        brief = (str(error).splitlines() or [""])[0][:120]
        raise CheckpointError(
            "a .pt2 archive reads as torch.export.save wrote it", place=path, received=f"{type(error).__name__}: {brief}",
            way_out="export it again with this version of torch",
        ) from error  # fmt: skip


def _existing(path: str) -> Path:
    if not Path(path).is_file():
        raise CheckpointError("a .pt2 archive is a file", place=path, way_out="check the path")
    return Path(path)


def _check_expressions(text: str, path: str) -> None:
    for expression in re.findall(r'"expr_str":\s*"((?:[^"\\]|\\.)*)"', text):
        if not SAFE_EXPRESSION.fullmatch(expression):
            raise _would_run(path, f"the expression {expression[:60]!r}")


def _would_run(path: str, what: str) -> CheckpointError:
    return CheckpointError(
        "a checkpoint is never read with code execution", place=path, received=what,
        way_out="export the program again without it, or name the model as package.module:factory",
    )  # fmt: skip


def _fit(model: nn.Module | ExportedProgram, weights: Mapping[str, torch.Tensor], place: str) -> None:
    own = model.state_dict if isinstance(model, ExportedProgram) else model.state_dict()
    missing, extra = [n for n in own if n not in weights], [n for n in weights if n not in own]
    wrong = [f"{n} {tuple(weights[n].shape)} for {tuple(own[n].shape)}" for n in own if n in weights and own[n].shape != weights[n].shape]
    listed = {"missing": missing, "not in the model": extra, "of another shape": wrong}
    problems = [f"{what}: {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
                for what, names in listed.items() if names]  # fmt: skip
    if problems:
        raise ModelError(
            "a checkpoint has the tensors of its model", place=place, received="; ".join(problems),
            way_out="name the model that the checkpoint was saved from",
        )  # fmt: skip
    if isinstance(model, ExportedProgram):
        for name in own:
            own[name] = weights[name]
    else:
        model.load_state_dict(dict(weights), assign=any(t.is_meta for t in own.values()))

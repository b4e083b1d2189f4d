"""A model by its name: package.module:factory, a .pt2 archive, a transformers folder, or a chain."""

from __future__ import annotations

import importlib
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import export
from graphsparse.checkpoints import Checkpoint, read_checkpoint
from graphsparse.checkpoints.archives.zip_directory import read_directory
from graphsparse.checkpoints.names import shown
from graphsparse.errors import CheckpointError, GraphsparseError, ModelError
from graphsparse.graph import LayeredGraph
from graphsparse.surgery.chain import build_chain
from graphsparse.surgery.pretrained import build_pretrained, is_pretrained

SAFE_EXPRESSION = re.compile(r"(?!.*__)(?!.*\.[A-Za-z_])[\w\s+\-*/(),.<>=&|~]*")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model with a checkpoint's weights and masks applied, and the inputs that it takes if they are known.

    ``masks`` are the checkpoint's own, which say more than the zeros of the weights: a kept weight may be zero.
    ``weights`` are its tensors as they are, those too that the model does not have.
    ``channel_only``: positions are not known, so only the channel resolution means anything. ``notes`` say what was
    taken for granted.
    """

    model: nn.Module | ExportedProgram
    example_inputs: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    masks: Mapping[str, torch.Tensor] = field(default_factory=dict)
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    channel_only: bool = False
    notes: tuple[str, ...] = ()

    def inputs(self, example_inputs: Any, kwargs: Mapping[str, Any] | None) -> tuple[Any, Mapping[str, Any]]:
        """The given inputs, or those that are known where none are given."""
        given = example_inputs is not None or kwargs
        return (example_inputs, kwargs or {}) if given else (self.example_inputs, self.kwargs)

    def graph(
        self,
        example_inputs: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        resolution: str = "unrolled",
        norm_statistics: bool = False,
    ) -> LayeredGraph:
        """The graph of the model under the checkpoint's masks, for the given inputs or those that are known."""
        if self.channel_only and resolution != "channel":
            raise ModelError(
                "a chain of convolutions has no known padding and pooling", received=f"resolution {resolution!r}",
                way_out="use resolution 'channel', or name the model",
            )  # fmt: skip
        args, named = self.inputs(example_inputs, kwargs)
        graph = export(self.model, args, kwargs=named, resolution=resolution, norm_statistics=norm_statistics)
        own = {name: mask for name, mask in self.masks.items() if graph.aliases.get(name, name) in graph.shapes}
        return graph.with_masks({**graph.masks, **graph.checked(own)}) if own else graph


def load_network(
    source: Any,
    model: Any = None,
    *,
    form: str | None = None,
    by_order: bool = False,
    arguments: Mapping[str, Any] | None = None,
) -> Loaded:
    """A checkpoint's network: the given model, or, without one, what the checkpoint itself says it is.

    Args:
        source: a file, folder or state dict; weights, masks, or both. A ``.pt2`` archive and a transformers folder need
            no model.
        model: a module, a program, or a name of one (see the module's text).
        form, by_order: as for `graphsparse.checkpoints.read_checkpoint`.
        arguments: keyword arguments of the factory.

    Raises:
        ModelError: the name leads to no model, or model and checkpoint do not fit; both sides are listed.
        CheckpointError, MaskError: a file is damaged, would have to run code, or its masks are none.
    """
    if model is None and is_pretrained(source):
        model = str(source)
    if model is None:
        if isinstance(source, (str, os.PathLike)) and str(source).endswith(".pt2"):
            return _of_program(read_program(str(source)))
        raise ModelError(
            "effective sparsity needs the network, not only its tensors",
            place="the state dict" if isinstance(source, Mapping) else str(source), received="no model",
            way_out="name it: package.module:factory, a .pt2 file, 'chain', or 'none' for direct sparsity alone",
        )  # fmt: skip
    if isinstance(model, str) and model == "chain":
        return _chained(read_checkpoint(source, form=form))
    inputs = None
    if isinstance(model, str) and is_pretrained(model):
        model, inputs = build_pretrained(model)
    elif isinstance(model, str):
        model = read_program(model) if model.endswith(".pt2") else make(model, arguments or {})
    checkpoint = read_checkpoint(source, form=form, by_order=by_order, parameters=_parameters(model))
    loaded = load_model(model, checkpoint)
    return loaded if inputs is None else replace(loaded, kwargs=inputs)


def load_model(model: nn.Module | ExportedProgram, checkpoint: Checkpoint) -> Loaded:
    """Put a checkpoint's weights on a model, dropped ones as zeros; a model on the meta device stays without weights.

    Raises ModelError where the two do not fit.
    """
    meta = any(tensor.is_meta for tensor in _parameters(model).values())
    notes = []
    if meta or not checkpoint.weights:
        lacking = _without_mask(model, checkpoint)
        if meta and lacking:
            raise _misfit(checkpoint.place, {"missing": lacking, "not in the model": _unknown(checkpoint)})
        if lacking:
            notes.append(f"Without a mask in the file, counted as wholly kept: {shown(lacking)}.")
    else:
        _fit(model, masked(checkpoint), checkpoint.place)
    if (meta or not checkpoint.weights) and _unknown(checkpoint):
        notes.append(f"In the file, not in the model: {shown(_unknown(checkpoint))}.")
    explicit = meta or checkpoint.form != "zeros"
    of_program = _of_program(model) if isinstance(model, ExportedProgram) else Loaded(model)
    masks = checkpoint.masks if explicit else {}
    return replace(of_program, masks=masks, weights=checkpoint.weights, notes=tuple(notes))


def _of_program(program: ExportedProgram) -> Loaded:
    return Loaded(program, *(program.example_inputs or (None, {})))


def _chained(checkpoint: Checkpoint) -> Loaded:
    tensors = (
        masked(checkpoint) if checkpoint.weights else {name: mask.float() for name, mask in checkpoint.masks.items()}
    )
    chained = build_chain(tensors, checkpoint.place)
    masks = checkpoint.masks if checkpoint.form != "zeros" else {}
    known = (chained.example_input,)
    return Loaded(chained.model, known, {}, masks, checkpoint.weights, chained.channel_only, (chained.note,))


def _parameters(model: nn.Module | ExportedProgram) -> dict[str, torch.Tensor]:
    """Every name of every parameter, tied ones too."""
    if isinstance(model, ExportedProgram):
        return {name: model.state_dict[name] for name in model.graph_signature.parameters}
    return dict(model.named_parameters(remove_duplicate=False))


def _tied(model: nn.Module | ExportedProgram, names: Iterable[str]) -> set[str]:
    """The names, and all others of the same parameters."""
    parameters = _parameters(model)
    same = {id(parameters[name]) for name in names if name in parameters}
    return {*names, *(name for name, parameter in parameters.items() if id(parameter) in same)}


def _without_mask(model: nn.Module | ExportedProgram, checkpoint: Checkpoint) -> list[str]:
    covered = _tied(model, list(checkpoint.masks))
    return [name for name, tensor in _parameters(model).items() if tensor.dim() > 1 and name not in covered]


def _unknown(checkpoint: Checkpoint) -> list[str]:
    return [name for name, why in checkpoint.ignored.items() if why == "no parameter of the model"]


def masked(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors with zeros where its masks drop them."""
    return {name: _zeroed(weight, checkpoint.masks.get(name)) for name, weight in checkpoint.weights.items()}


def _zeroed(weight: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return weight if mask is None else torch.where(mask, weight, torch.zeros((), dtype=weight.dtype))


def make(spec: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Call the factory that ``package.module:factory`` names; the current folder is searched too."""
    path, _, factory = spec.partition(":")
    if not path or not factory:
        raise ModelError(
            "a model is named as package.module:factory, a .pt2 file, a transformers folder or 'chain'",
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
        brief = (str(error).splitlines() or [""])[0][:200]
        raise ModelError(
            f"a model's factory can be imported and {called}", place=spec,
            received=f"{type(error).__name__}: {brief}", way_out="check the module path, the name after the colon and the arguments",
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
    covered = _tied(model, list(weights))
    missing, extra = [n for n in own if n not in covered], [n for n in weights if n not in own]
    wrong = [
        f"{n} {tuple(weights[n].shape)} for {tuple(own[n].shape)}"
        for n in own
        if n in weights and own[n].shape != weights[n].shape
    ]
    if missing or extra or wrong:
        raise _misfit(place, {"missing": missing, "not in the model": extra, "of another shape": wrong})
    if isinstance(model, ExportedProgram):
        own.update(weights)
    else:
        model.load_state_dict(dict(weights), strict=False)  # tied ones may be there once


def _misfit(place: str, sides: Mapping[str, Sequence[str]]) -> ModelError:
    return ModelError(
        "a checkpoint has the tensors of its model", place=place, way_out="name the model that the checkpoint was saved from",
        received="; ".join(f"{what}: {shown(names)}" for what, names in sides.items() if names),
    )  # fmt: skip

"""From a torch model to a graph: `export`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.draft import Draft, as_ids
from graphsparse.capture.finish import finished_layers
from graphsparse.capture.inputs import inputs_of
from graphsparse.capture.lower import Lowering, lower, require_sinks
from graphsparse.capture.parameters import Parameters, modulators_of, parameters_of
from graphsparse.capture.pruned import Plain, plain
from graphsparse.capture.rules import RULES, Rule
from graphsparse.capture.sharing import separate
from graphsparse.capture.table import Apply, with_extra
from graphsparse.capture.tokens import free_entries
from graphsparse.capture.trace import settled, trace
from graphsparse.errors import CaptureError, MaskError
from graphsparse.graph import Coverage, LayeredGraph, Use
from graphsparse.kernels.masks import Mask

__all__ = ["Rule", "export", "export_uses"]

RESOLUTIONS = ("unrolled", "channel")


def export(
    model: nn.Module | ExportedProgram,
    example_inputs: Any = None,
    masks: Mapping[str, Any] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str = "unrolled",
    norm_statistics: bool = False,
    extra_rules: Mapping[Any, Rule | Apply] | None = None,
    batch_axis: int | None = 0,
    sources: Iterable[str] | None = None,
) -> LayeredGraph:
    """Turn a model with masks into a sparse multipartite graph. The model is not changed.

    What a decoder of the transformers library caches for its next token is not an output (``use_cache`` is off).

    Args:
        model: a module, captured by torch.export in evaluation mode; or an exported program, used as it is.
        example_inputs: a tensor or tuple of tensors that ``model(*example_inputs)`` accepts; only shapes matter for
            floating inputs. An integer input is a source where the model computes with it (a timestep), tokens where
            it indexes the rows of a parameter, and a constant elsewhere (masks and positions); ``inputs`` of the graph
            says what each was taken for.
        masks: ``{parameter name: bool tensor}``, True = kept, by the names of ``model.named_parameters()``. Kernels
            without a mask are wholly kept. None reads them off the model: `torch.nn.utils.prune` and parametrisation
            masks where present, else the non-zero pattern of the weights (on the meta device: everything is kept). Where
            the model masks only some uses of a shared parameter, each use is swept under its own mask.
        kwargs: keyword arguments of the model's forward.
        resolution: "unrolled", one unit per element; or "channel", one per channel or feature, positions collapsed.
        norm_statistics: whether normalisation statistics carry influence (docs/semantics.md).
        extra_rules: rules for further operations, ``{aten overload: function or Rule}``; see `graphsparse.capture.rules`.
        batch_axis: the axis of every input that makes no units; None where inputs have no batch axis. An input of one
            axis has one where it is as long as there are samples.
        sources: the names of the inputs that are sources, all others being constants; nested ones by their paths, as
            ``batch.image``. By default as said under ``example_inputs``.

    Raises:
        CaptureError: torch.export cannot capture the model with these inputs; or a source is none of its inputs.
        UnsupportedOperations: operations without a rule, all of them, with counts and module paths.
        MaskError: a mask's name, shape or type does not fit.

    Definitions: Vysogorets and Kempe 2023, section 3; the graph: Cunegatti et al. 2024.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> graph = export(model, torch.zeros(1, 4, 4))
        >>> [len(layer) for layer in graph.layers], graph.n_connections
        ([16, 4, 2], 72)
    """
    return export_uses(
        model, example_inputs, masks, kwargs=kwargs, resolution=resolution, norm_statistics=norm_statistics,
        extra_rules=extra_rules, batch_axis=batch_axis, sources=sources,
    )  # fmt: skip


def export_uses(
    model: nn.Module | ExportedProgram,
    example_inputs: Any,
    masks: Mapping[str, Any] | None,
    uses: Mapping[str, Mask] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str = "unrolled",
    norm_statistics: bool = False,
    extra_rules: Mapping[Any, Rule | Apply] | None = None,
    batch_axis: int | None = 0,
    sources: Iterable[str] | None = None,
) -> LayeredGraph:
    """`export` where some uses of a shared parameter keep less than others: ``uses`` are their masks, by their names.

    By default they are those of the model itself, where its own masks are read.
    """
    if resolution not in RESOLUTIONS:
        raise CaptureError("resolution is 'unrolled' or 'channel'", received=repr(resolution))
    table = with_extra(RULES, extra_rules)
    found: dict[str, torch.Tensor] = {}
    keys: dict[str, str] = {}
    if isinstance(model, ExportedProgram):
        _require_one_mask_each(uses or {})
        program, parameters = settled(model, batch_axis), Parameters.of_program(model)
    else:
        twin = _plain(model)
        found = twin.masks
        uses = twin.uses if masks is None and uses is None else uses or {}
        parameters = Parameters.of_module(twin.model)
        keys = {name: _key(use) for name, use in separate(twin.model, uses).items()}
        program = trace(twin.model, _as_args(example_inputs), kwargs or {}, batch_axis)
    inputs = inputs_of(program, batch_axis, sources)
    own = {_key(name): Use(parameters.canonical[name], name, mask) for name, mask in (uses or {}).items()}
    names, masked = {**parameters.canonical, **keys}, {key: use.parameter for key, use in own.items()}
    lowering = lower(program, table, names, inputs, lambda: Draft(resolution, norm_statistics, masked))
    require_sinks(lowering, parameters.model_name)
    return _graph(lowering, parameters, own, masks, found)


def _key(use: str) -> str:
    """What the mask of one use of a shared parameter goes by beside those of parameters; no parameter has such a name."""
    return f"{use}, its own mask"


def _require_one_mask_each(uses: Mapping[str, Mask]) -> None:
    if uses:
        raise MaskError(
            "a captured program must have one mask for each parameter: it does not tell the uses of a shared one apart",
            place=", ".join(uses), received="a mask for some uses only", way_out="give the module itself as the model",
        )  # fmt: skip


def _plain(model: Any) -> Plain:
    """A copy of the model to trace, where it is one that can be."""
    way_out = "give the torch.nn.Module itself"
    if isinstance(model, torch.jit.ScriptModule):
        raise CaptureError(
            "a model must not be TorchScript", received=type(model).__name__, way_out=f"{way_out} that was scripted"
        )
    if not isinstance(model, nn.Module):
        received = model.__name__ if isinstance(model, type) else type(model).__name__
        raise CaptureError(
            "a model must be a torch.nn.Module or an exported program",
            received=received,
            way_out=f"{way_out}, not its state dict, its class or a function",
        )
    try:
        return plain(model)
    except RecursionError as error:
        raise CaptureError(
            "a model's modules must be nested less deeply than Python allows calls to be", place=type(model).__name__,
            received=f"a limit of {sys.getrecursionlimit()} calls", way_out="raise it with sys.setrecursionlimit(10000)",
        ) from error  # fmt: skip


def _as_args(example_inputs: Any) -> tuple:
    if example_inputs is None:
        return ()
    return tuple(example_inputs) if isinstance(example_inputs, (tuple, list)) else (example_inputs,)


def _graph(
    lowering: Lowering,
    parameters: Parameters,
    uses: Mapping[str, Use],
    masks: Mapping[str, Any] | None,
    found: Mapping[str, torch.Tensor],
) -> LayeredGraph:
    draft = lowering.draft
    layers, sources, sinks = finished_layers(draft, _all_ids(lowering.sinks))
    graph = LayeredGraph(
        layers=layers,
        sources=sources,
        sinks=sinks,
        shapes={name: tuple(shape) for name, shape in parameters.in_order(draft.kernels).items()},
        weights=parameters.weights_of(draft.kernels),
        modulators=modulators_of(draft, parameters, given=masks is not None),
        uses={key: use for key, use in uses.items() if use.parameter in draft.kernels | draft.modulators},
        constants=parameters.without_connections(draft),
        aliases={alias: name for alias, name in parameters.canonical.items() if alias != name},
        unused=parameters.unused(draft),
        resolution=draft.resolution,
        norm_statistics=draft.norm_statistics,
        has_norm_statistics=draft.has_norm_statistics,
        coverage=Coverage(dict(lowering.used), (*lowering.conservative, *free_entries(draft))),
        inputs=lowering.inputs.told(draft.tables),
    )
    return graph.with_masks(parameters_of(graph, parameters, found) if masks is None else masks)


def _all_ids(values: list[torch.Tensor]) -> np.ndarray:
    ids = np.unique(np.concatenate([as_ids(value.reshape(-1)) for value in values]))
    return ids[ids >= 0]

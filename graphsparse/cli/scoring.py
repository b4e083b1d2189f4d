"""What the commands that score connections begin with: the network and its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.checkpoints import WHOLE, Part
from graphsparse.cli import options
from graphsparse.errors import ModelError
from graphsparse.graph import LayeredGraph
from graphsparse.networks.loading import load_network
from graphsparse.networks.pretrained import is_pretrained
from graphsparse.networks.weights import bytes_to_run, size, with_weights
from graphsparse.pruning.methods import METHODS, method_named


@dataclass(frozen=True, eq=False)
class Scorable:
    """A model, what its forward takes, its graph, the tensors of its checkpoint, and what is to be told.

    The model has weights where a method runs it; else ``weights`` are read one at a time.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    graph: LayeredGraph
    weights: Mapping[str, torch.Tensor]
    notes: tuple[str, ...] = ()


def network(
    checkpoint: Path,
    model: str | None,
    inputs: Sequence[str] | None,
    model_args: Sequence[str] | None,
    form: str | None,
    resolution: str | None,
    norm_statistics: bool,
    *,
    methods: Sequence[str],
    part: Part = WHOLE,
    trust_sizes: bool = False,
    sources: Sequence[str] | None = None,
) -> Scorable:
    """Load a checkpoint's network for the methods that are to score it. Errors as `load_network` and `with_weights`.

    A transformers folder's model is built without weights; they are loaded where a method runs the model.
    """
    loaded = load_network(
        checkpoint, model, form=form, arguments=options.arguments(model_args), part=part, trust_sizes=trust_sizes
    )
    notes = loaded.notes
    running = [method for method in methods if METHODS[method_named(method)].runs_model]
    if loaded.is_meta and running:
        loaded = with_weights(loaded)
        notes += (
            f"{running[0]} runs the model: its weights were loaded, which takes about {size(bytes_to_run(loaded))}.",
        )
    elif loaded.is_meta and not loaded.weights:
        raise ModelError(
            "scores must be computed from weights", place=str(checkpoint), received="masks alone",
            way_out="name a checkpoint with weights",
        )  # fmt: skip
    args, kwargs = loaded.inputs(options.examples(inputs), None)
    folder = is_pretrained(checkpoint if model is None else model)
    resolution = resolution or ("channel" if folder else "unrolled")
    graph = loaded.graph(args, kwargs, resolution, norm_statistics, sources or None)
    runnable = loaded.model.module() if isinstance(loaded.model, ExportedProgram) else loaded.model
    weights = loaded.weights or {name: tensor.detach() for name, tensor in runnable.state_dict().items()}
    return Scorable(runnable, args or (), kwargs, graph, weights, notes)

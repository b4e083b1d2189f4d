"""What the commands that score connections begin with: the network and its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from graphsparse.cli import options
from graphsparse.errors import ModelError
from graphsparse.graph import LayeredGraph
from graphsparse.surgery.loading import load_network


@dataclass(frozen=True, eq=False)
class Scorable:
    """A model that can be run, what its forward takes, its graph, and the tensors of its checkpoint."""

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    graph: LayeredGraph
    weights: Mapping[str, torch.Tensor]


def network(
    checkpoint: Path,
    model: str | None,
    inputs: Sequence[str] | None,
    model_args: Sequence[str] | None,
    form: str | None,
    resolution: str,
    norm_statistics: bool,
) -> Scorable:
    """Load a checkpoint's network with its weights. Errors as `load_network`."""
    loaded = load_network(checkpoint, model, form=form, arguments=options.arguments(model_args))
    args, kwargs = loaded.inputs(options.examples(inputs), None)
    graph = loaded.graph(args, kwargs, resolution, norm_statistics)
    runnable = loaded.model.module() if isinstance(loaded.model, ExportedProgram) else loaded.model
    if any(parameter.is_meta for parameter in runnable.parameters()):
        raise ModelError(
            "scores need weights, which a transformers folder's model is built without", place=str(checkpoint),
            way_out="name the model as package.module:factory",
        )  # fmt: skip
    weights = loaded.weights or {name: tensor.detach() for name, tensor in runnable.state_dict().items()}
    return Scorable(runnable, args or (), kwargs, graph, weights)

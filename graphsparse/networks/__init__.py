"""What finds the network that a model or a checkpoint stands for: `network`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture import Network, Rule, network_of
from graphsparse.checkpoints import Part
from graphsparse.networks.filling import with_weights
from graphsparse.networks.loading import Progress, load_network

__all__ = ["Network", "network"]


def network(
    source: Any,
    example_inputs: Any = None,
    *,
    model: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    batch_axis: int | None = 0,
    extra_rules: Mapping[Any, Rule | Any] | None = None,
    weights: bool = False,
    form: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    key: str | None = None,
    ignore: str | Iterable[str] = (),
    prefix: str | None = None,
    trust_sizes: bool = False,
) -> Network:
    """Capture a model once, for all that is to be done with it.

    `graphsparse.export`, `analyze`, `prune` and `write_masks` take the network in a model's place. What a live module
    holds is read whenever a graph is made, so what they say follows training and pruning; capture the module anew only
    when its structure changes.

    Args:
        source: a module, an exported program, a checkpoint file, a state dict, or a folder with a ``config.json``.
        example_inputs, kwargs, batch_axis, extra_rules: as for `graphsparse.export`; the rules also reach SynFlow. A
            ``.pt2`` file, a chain and most transformers folders bring inputs of their own.
        model: for a checkpoint, its model; as for `graphsparse.analyze`, but for "none".
        weights: put the weights of a transformers folder into memory, for methods that run the model.
        form, model_args, progress, key, ignore, prefix, trust_sizes: as for `graphsparse.analyze`.

    Returns:
        A network: ``.program``, ``.inputs``, ``.parameters``, ``.masks``, ``.weights``, ``.notes``.

    Raises:
        CaptureError: torch.export cannot capture the model with these inputs.
        CheckpointError, ModelError, MaskError: bad input, with the way out.

    Example:
        >>> import torch
        >>> found = network(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 8))
        >>> found
        Network(Sequential, 4 parameters)
    """
    if isinstance(source, (nn.Module, ExportedProgram, Network)):
        found = network_of(source, example_inputs, kwargs, batch_axis=batch_axis, extra_rules=extra_rules)
    else:
        found = load_network(
            source, model, form=form, arguments=model_args, progress=progress, part=Part.of(key, ignore, prefix),
            trust_sizes=trust_sizes,
        ).with_inputs(example_inputs, kwargs)  # fmt: skip
        found = replace(found, batch_axis=batch_axis, extra_rules=dict(extra_rules or {}))
        found = with_weights(found) if weights and found.is_meta else found
    found.captured(found.present()[2])
    return found

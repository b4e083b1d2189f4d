"""From a torch model to a graph: `export`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.export import ExportedProgram

from graphsparse.capture.network import Network, network_of
from graphsparse.capture.rules import Rule
from graphsparse.capture.structure import graph_of
from graphsparse.capture.table import Apply
from graphsparse.graph import LayeredGraph

__all__ = ["Network", "Rule", "export", "network_of"]


def export(
    model: nn.Module | ExportedProgram | Network,
    example_inputs: Any = None,
    masks: Mapping[str, Any] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str | None = None,
    norm_statistics: bool = False,
    extra_rules: Mapping[Any, Rule | Apply] | None = None,
    batch_axis: int | None = 0,
    sources: Iterable[str] | None = None,
) -> LayeredGraph:
    """Turn a model with masks into a sparse multipartite graph. The model is not changed.

    What a decoder of the transformers library caches for its next token is not an output (``use_cache`` is off).

    Args:
        model: a module, captured by torch.export in evaluation mode; an exported program, used as it is; or a network,
            which brings its inputs: ``export(network, masks)``.
        example_inputs: a tensor or tuple of tensors that ``model(*example_inputs)`` accepts; only shapes matter for
            floating inputs. An integer input is a source where the model computes with it (a timestep), tokens where
            it indexes the rows of a parameter, and a constant elsewhere (masks and positions); ``inputs`` of the graph
            says what each was taken for.
        masks: ``{parameter name: bool tensor}``, True = kept, by the names of ``model.named_parameters()``. Kernels
            without a mask are wholly kept. None reads them off the model: `torch.nn.utils.prune` and parametrisation
            masks where present, else the non-zero pattern of the weights (on the meta device: everything is kept). Where
            the model masks only some uses of a shared parameter, each use is swept under its own mask.
        kwargs: keyword arguments of the model's forward.
        resolution: "unrolled", one unit per element; or "channel", one per channel or feature, positions collapsed. By
            default "unrolled", or what the network says.
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
        >>> import torch
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> graph = export(model, torch.zeros(1, 4, 4))
        >>> [len(layer) for layer in graph.layers], graph.n_connections
        ([16, 4, 2], 72)
    """
    if isinstance(model, Network) and masks is None:
        example_inputs, masks = None, example_inputs
    return graph_of(
        network_of(model, example_inputs, kwargs, batch_axis=batch_axis), masks, resolution=resolution,
        norm_statistics=norm_statistics, extra_rules=extra_rules, sources=sources,
    )  # fmt: skip

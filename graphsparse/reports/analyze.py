"""One call from a checkpoint to a report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from graphsparse.capture import Network, export, network_of
from graphsparse.capture.inputs import names_of
from graphsparse.checkpoints import Part, open_checkpoint
from graphsparse.checkpoints.checks import count_not_finite
from graphsparse.checkpoints.opening import not_finite_note
from graphsparse.errors import ModelError
from graphsparse.networks.loading import Progress, load_network
from graphsparse.pages.reproduction import Origin
from graphsparse.reports.report import Report, report_of, report_without_model
from graphsparse.reports.verify import verify_outputs

LIVE = (nn.Module, ExportedProgram, Network)
"""What is analysed as it is, without a checkpoint."""


def analyze(
    source: Any,
    model: Any = None,
    example_inputs: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str | None = None,
    norm_statistics: bool = False,
    form: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    key: str | None = None,
    ignore: str | Iterable[str] = (),
    prefix: str | None = None,
    trust_sizes: bool = False,
    sources: Iterable[str] | None = None,
    cache: bool = False,
    verify: bool = False,
) -> Report:
    """Say how sparse a saved or live network is, directly and effectively.

    Args:
        source: a checkpoint file or a state dict; a live module, whose own masks are read; an exported program; or a
            network. After what is live the second argument is its inputs: ``analyze(model, x)``.
        model: for a checkpoint, its network: a module, ``"package.module:factory"``, a ``.pt2`` file, a folder with a
            transformers ``config.json``, ``"chain"`` for a state dict whose kernels follow each other, or ``"none"`` for
            direct sparsity by tensor alone. A ``.pt2`` file and a transformers folder need no model beside them.
        example_inputs: what the model's forward takes; not needed for "chain", "none", .pt2 and most of transformers.
        kwargs, norm_statistics, sources: as for `graphsparse.export`.
        resolution: as for `graphsparse.export`; by default "unrolled", and "channel" for a transformers folder, since
            the length of its input is arbitrary.
        form: the checkpoint's form, where it should not be recognised.
        model_args: keyword arguments of the factory.
        progress: called with (bytes read, bytes in all) while a checkpoint is read tensor by tensor, so that it may be
            larger than memory. A model of a factory that must have its weights is read at once.
        key, ignore, prefix: which tensors of the checkpoint are meant; as for `graphsparse.read_masks`.
        trust_sizes: build the model of a ``config.json`` or a ``.pt2`` archive however much larger than the file it is.
        cache: keep what a transformers folder's network is captured as in the user's cache, and find it there again.
        verify: compare the network's outputs before and after the dead connections are dropped, on random inputs; the
            weights are loaded for that.

    Returns:
        A report: ``.frame`` with a row per parameter, ``.summary``, ``.notes``.

    Raises:
        CheckpointError, ModelError, MaskError, CaptureError: bad input, with the way out.

    Example:
        >>> import torch
        >>> analyze({"1.weight": torch.eye(4), "2.weight": torch.ones(2, 4)}, "chain").summary["active"]
        12
    """
    sources, ignore = names_of(sources), _tuple(ignore)
    origin = _origin(source, model, example_inputs, {
        "resolution": resolution, "norm_statistics": norm_statistics, "sources": sources, "form": form,
        "model_args": model_args, "key": key, "ignore": ignore, "prefix": prefix,
    })  # fmt: skip
    if isinstance(source, LIVE):
        network = network_of(source, _inputs_of(source, model, example_inputs), kwargs)
    elif isinstance(model, str) and model == "none":
        asked = {"verify=True": verify, "sources=": sources is not None, "resolution=": resolution is not None,
                 "norm_statistics=True": norm_statistics, "example_inputs=": example_inputs is not None}  # fmt: skip
        for name in (name for name, given in asked.items() if given):
            raise ModelError(f"{name} must have a network", received="the model none", way_out="name the model")
        part = Part.of(key, ignore, prefix)
        return replace(report_without_model(open_checkpoint(source, form=form, part=part), progress), origin=origin)
    else:
        network = load_network(
            source, model, form=form, arguments=model_args, weightless=not verify, progress=progress,
            part=Part.of(key, ignore, prefix), trust_sizes=trust_sizes, cache=cache,
        ).with_inputs(example_inputs, kwargs)  # fmt: skip
    graph = export(network, resolution=resolution, norm_statistics=norm_statistics, sources=sources)
    verification = verify_outputs(network, graph) if verify else None
    told = [str(verification)] if verification else []
    found = report_of(network.title, graph, (*told, *network.notes, *_not_finite(network)))
    return replace(found, network=network, origin=origin, verification=verification)


def _origin(source: Any, model: Any, example_inputs: Any, settings: Mapping[str, Any]) -> Origin:
    """Where a report comes from; what is not plain text is named by its type, inputs by their shapes."""
    paths = (os.fspath(source),) if isinstance(source, (str, os.PathLike)) else ()
    if isinstance(source, LIVE) and example_inputs is None:
        model, example_inputs = source, model
    named = (
        os.fspath(model) if isinstance(model, (str, os.PathLike)) else None if model is None else type(model).__name__
    )
    shapes = [f"{'x'.join(map(str, each.shape))} {str(each.dtype).removeprefix('torch.')}"
              for each in tree_leaves(example_inputs) if isinstance(each, torch.Tensor)]  # fmt: skip
    plain = {name: ", ".join(f"{key}={item}" for key, item in value.items()) if isinstance(value, Mapping) else value
             for name, value in settings.items()}  # fmt: skip
    return Origin(paths, {"model": named, "inputs": tuple(shapes), **plain})


def _tuple(names: Any) -> Any:
    """Names that can be read more than once; what is no series of names stays as it is."""
    return names if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)


def _not_finite(network: Network) -> tuple[str, ...]:
    """The note on weights that are not finite. A checkpoint's stands among the network's own notes."""
    if network.weights or isinstance(network.model, ExportedProgram):
        return ()
    named = [(name, each.detach()) for name, each in network.model.named_parameters() if not each.is_meta]
    counts = {name: count_not_finite(tensor) for name, tensor in named}
    return not_finite_note({name: count for name, count in counts.items() if count})


def _inputs_of(source: nn.Module | ExportedProgram | Network, second: Any, example_inputs: Any) -> Any:
    """The inputs of a live module, which stand second: it is its own model."""
    if second is not None and (example_inputs is not None or isinstance(second, (str, nn.Module))):
        raise ModelError(
            "a live module must come without a model beside it", place=type(source).__name__,
            received=second if isinstance(second, str) else type(second).__name__,
            way_out="analyze(module, example_inputs); or give a checkpoint first, and the module as its model",
        )  # fmt: skip
    return example_inputs if second is None else second

"""One call from a checkpoint to a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from graphsparse.capture import export
from graphsparse.checkpoints import read_checkpoint
from graphsparse.reports.report import Report, report_of, report_without_model
from graphsparse.surgery.models import load_network


def analyze(
    source: Any,
    model: Any = None,
    example_inputs: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str = "unrolled",
    norm_statistics: bool = False,
    form: str | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> Report:
    """Say how sparse a saved or live network is, directly and effectively.

    Args:
        source: a checkpoint file or state dict; or a live module, whose own masks are read.
        model: for a checkpoint, its network: a module, ``"package.module:factory"``, a ``.pt2`` file, a folder with a
            transformers ``config.json``, ``"chain"`` for a state dict whose kernels follow each other, or ``"none"`` for
            direct sparsity by tensor alone. A ``.pt2`` file and a transformers folder need no model beside them.
        example_inputs: what the model's forward takes; not needed for "chain", "none", .pt2 and most of transformers.
        kwargs, resolution, norm_statistics: as for `graphsparse.export`.
        form: the checkpoint's form, where it should not be recognised.
        model_args: keyword arguments of the factory.

    Raises:
        CheckpointError, ModelError, MaskError, CaptureError: bad input, with the way out.

    Example:
        >>> analyze({"1.weight": torch.eye(4), "2.weight": torch.ones(2, 4)}, "chain").summary["active"]
        12
    """
    if isinstance(source, nn.Module):
        graph = export(source, example_inputs, kwargs=kwargs, resolution=resolution, norm_statistics=norm_statistics)
        return report_of(type(source).__name__, graph)
    if isinstance(model, str) and model == "none":
        return report_without_model(read_checkpoint(source, form=form))
    network = load_network(source, model, form=form, arguments=model_args)
    graph = network.graph(example_inputs, kwargs, resolution, norm_statistics)
    return report_of("state dict" if isinstance(source, Mapping) else Path(str(source)).name, graph, network.notes)

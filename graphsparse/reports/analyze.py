"""One call from a checkpoint to a report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas
from torch import nn

from graphsparse.capture import export
from graphsparse.checkpoints import Checkpoint, read_checkpoint
from graphsparse.checkpoints.atomic import replacing
from graphsparse.errors import MissingExtra, ModelError
from graphsparse.graph import Coverage, LayeredGraph
from graphsparse.measures.sparsity import Sparsity, sparsity
from graphsparse.surgery.models import load_model


@dataclass(frozen=True, eq=False)
class Report:
    """How sparse a network is: ``sparsity`` (None without a model), a ``frame`` with a row per parameter, a ``summary``.

    ``notes`` say what a reader should know: collapse, unused parameters, what is decided conservatively.
    """

    title: str
    frame: pandas.DataFrame
    summary: dict[str, Any]
    notes: tuple[str, ...] = ()
    sparsity: Sparsity | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values; an infinite compression is None, since JSON has no infinity."""
        rows = [{"parameter": name, **_plain(dict(row))} for name, row in self.frame.iterrows()]
        return {"title": self.title, "summary": _plain(self.summary), "parameters": rows, "notes": list(self.notes)}

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The report as JSON text, also written to a file where a path is given."""
        text = json.dumps(self.to_dict(), indent=2)
        if path is not None:
            with replacing(path) as file:
                file.write((text + "\n").encode())
        return text

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page that stands alone. Needs the extra ``html``."""
        try:
            from jinja2 import Environment
        except ImportError as error:
            raise MissingExtra("a page needs Jinja2", way_out="pip install 'graphsparse[html]'") from error
        template = (Path(__file__).parent / "page.html").read_text()
        page = Environment(autoescape=True).from_string(template).render(report=self, rows=self.to_dict()["parameters"])
        with replacing(path) as file:
            file.write(page.encode())


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    def value(item: Any) -> Any:
        if isinstance(item, tuple):
            return list(item)
        item = item.item() if hasattr(item, "item") else item
        return None if isinstance(item, float) and not math.isfinite(item) else item

    return {key: value(item) for key, item in values.items()}


def analyze(
    source: Any,
    model: Any = None,
    example_inputs: Any = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    resolution: str = "unrolled",
    norm_statistics: bool = False,
    form: str | None = None,
) -> Report:
    """Say how sparse a saved or live network is, directly and effectively.

    Args:
        source: a checkpoint file or state dict; or a live module, whose own masks are read.
        model: for a checkpoint, its network: a module, ``"package.module:factory"``, a ``.pt2`` file, ``"chain"`` for a
            state dict whose kernels follow each other, or ``"none"`` for direct sparsity by tensor alone.
        example_inputs: what the model's forward takes; not needed for "chain", "none" and .pt2.
        kwargs, resolution, norm_statistics: as for `graphsparse.export`.
        form: the checkpoint's form, where it should not be recognised.

    Raises:
        CheckpointError, ModelError, MaskError, CaptureError: bad input, with the way out.

    Example:
        >>> analyze("lenet.pt", "graphsparse.zoo:lenet5", torch.zeros(1, 3, 32, 32)).summary  # doctest: +SKIP
    """
    if isinstance(source, nn.Module):
        graph = export(source, example_inputs, kwargs=kwargs, resolution=resolution, norm_statistics=norm_statistics)
        return report_of(type(source).__name__, graph)
    program = isinstance(source, (str, os.PathLike)) and str(source).endswith(".pt2") and model is None
    checkpoint = None if program else read_checkpoint(source, form=form)
    if checkpoint is not None and isinstance(model, str) and model == "none":
        return _without_model(checkpoint)
    if model is None and not program:
        raise ModelError(
            "effective sparsity needs the network, not only its tensors", place=str(source), received="no model",
            way_out="name it: package.module:factory, a .pt2 file, 'chain', or 'none' for direct sparsity alone",
        )  # fmt: skip
    loaded = load_model(str(source) if program else model, checkpoint)
    if loaded.channel_only and resolution != "channel":
        raise ModelError(
            "a chain of convolutions has no known padding and pooling", received="resolution 'unrolled'",
            way_out="use resolution 'channel', or name the model",
        )  # fmt: skip
    inputs = example_inputs if example_inputs is not None else loaded.example_inputs
    graph = export(loaded.model, inputs, kwargs=kwargs, resolution=resolution, norm_statistics=norm_statistics)
    if checkpoint is not None:
        explicit = {n: m for n, m in checkpoint.masks.items() if checkpoint.form != "zeros" and n in graph.shapes}
        graph = graph.with_masks({**graph.masks, **graph.checked(explicit)})
    return report_of("state dict" if isinstance(source, Mapping) else Path(str(source)).name, graph)


def report_of(title: str, graph: LayeredGraph) -> Report:
    """The report of a graph under its masks."""
    found = sparsity(graph)
    summary = {
        "resolution": graph.resolution,
        "norm_statistics": graph.norm_statistics,
        "connections": found.connections,
        "kept": found.kept,
        "active": found.active,
        "direct_sparsity": found.direct,
        "effective_sparsity": found.effective,
        "direct_compression": found.direct_compression,
        "effective_compression": found.effective_compression,
        "units": graph.n_units,
        "layers": len(graph.layers),
        "sources": len(graph.sources),
        "sinks": len(graph.sinks),
    }
    return Report(title, found.frame, summary, _notes(found, graph.coverage, graph), found)


def _notes(found: Sparsity, coverage: Coverage, graph: LayeredGraph) -> tuple[str, ...]:
    notes = []
    if found.active == 0:
        notes.append(f"Collapsed: no path from an input to an output is left; nothing kept in {', '.join(found.collapsed[:4])} is active.")
    elif found.collapsed:
        notes.append(f"Nothing is active in {', '.join(found.collapsed[:6])}.")
    if found.unused:
        notes.append(f"Not used by the network, not counted: {', '.join(found.unused[:6])}.")
    if coverage.conservative:
        reasons = sorted({f"{operation}: {reason}" for operation, _, reason in coverage.conservative})
        notes.append(f"Decided on the safe side ({len(coverage.conservative)} calls): {'; '.join(reasons[:4])}.")
    if graph.has_norm_statistics and not graph.norm_statistics:
        notes.append("Statistics of layer, group or RMS normalisation are left out, as in the paper; see norm_statistics.")
    return tuple(notes)


def _without_model(checkpoint: Checkpoint) -> Report:
    rows = {
        name: {"shape": tuple(mask.shape), "connections": mask.numel(), "kept": int(mask.sum())}
        for name, mask in checkpoint.masks.items()
    }
    frame = pandas.DataFrame.from_dict(rows, orient="index", columns=["shape", "connections", "kept"])
    frame.index.name = "parameter"
    frame["direct"] = 1 - frame["kept"] / frame["connections"].clip(lower=1)
    connections, kept = int(frame["connections"].sum()), int(frame["kept"].sum())
    summary = {"connections": connections, "kept": kept, "direct_sparsity": 1 - kept / max(connections, 1),
               "direct_compression": connections / kept if kept else math.inf}  # fmt: skip
    return Report(Path(checkpoint.place).name, frame, summary, ("Effective sparsity needs a model: give --model.",))

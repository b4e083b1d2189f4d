"""The demo: a real checkpoint from file to effective sparsity, to masks written back, to the same predictions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from graphsparse import data, zoo
from graphsparse.capture import export
from graphsparse.checkpoints import read_checkpoint
from graphsparse.effective import effective_masks
from graphsparse.networks.filling import load_model
from graphsparse.reports.report import report_of
from graphsparse.reports.terminal import show, wide
from graphsparse.surgery import write_masks

CHECKPOINT = "digits-mlp-50x.pt"


def run(console: Console | None = None, checkpoint: str = CHECKPOINT) -> bool:
    """Run the demo and return whether the predictions stayed the same."""
    console = wide(console or Console())
    name, path = data.CHECKPOINTS[checkpoint], data.path(checkpoint)
    example = torch.zeros(1, *zoo.input_shape(name))
    model, again = zoo.build(name).eval(), zoo.build(name).eval()
    network = load_model(model, read_checkpoint(path)).with_inputs(example)
    graph = export(network)
    show(report_of(checkpoint, graph), console)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "effective.safetensors"
        written = write_masks(file, effective_masks(graph), model=network)
        load_model(again, read_checkpoint(file))
    return _compare(console, model, again, len(written.folded), sum(written.kept.values()))


@torch.no_grad()
def _compare(console: Console, before: torch.nn.Module, after: torch.nn.Module, folded: int, kept: int) -> bool:
    images, labels = data.digits("test")
    first, second = (model.eval()(torch.from_numpy(images)) for model in (before, after))
    same = int((first.argmax(1) == second.argmax(1)).sum())
    accuracy = [float(np.mean(out.argmax(1).numpy() == labels)) for out in (first, second)]
    console.print(
        f"\n  Effective masks written back: {folded} constants folded into biases, {kept} connections kept for theirs.\n"
        f"  Test images with the same prediction: {same} of {len(labels)}.\n"
        f"  Accuracy {accuracy[0]:.1%} before, {accuracy[1]:.1%} after; "
        f"largest change of an output {float((first - second).abs().max()):.1e}."
    )
    return same == len(labels)

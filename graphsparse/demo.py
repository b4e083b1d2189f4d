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
from graphsparse.reports.analyze import analyze
from graphsparse.reports.terminal import show
from graphsparse.surgery import effective_masks, write_masks
from graphsparse.surgery.models import load_model

CHECKPOINT = "digits-mlp-50x.pt"


def run(console: Console | None = None, checkpoint: str = CHECKPOINT) -> bool:
    """Run the demo and return whether the predictions stayed the same."""
    console = console or Console()
    name, path = data.CHECKPOINTS[checkpoint], data.path(checkpoint)
    example = torch.zeros(1, *zoo.input_shape(name))
    show(analyze(path, f"graphsparse.zoo:{name}", example), console)
    model = load_model(f"graphsparse.zoo:{name}", read_checkpoint(path)).model
    assert isinstance(model, torch.nn.Module)
    masks = effective_masks(export(model, example))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "effective.safetensors"
        result = write_masks(written, masks, weights=path, model=model, example_inputs=example)
        again = load_model(f"graphsparse.zoo:{name}", read_checkpoint(written)).model
    assert isinstance(again, torch.nn.Module)
    return _compare(console, model, again, len(result.folded), sum(result.kept.values()))


@torch.no_grad()
def _compare(console: Console, before: torch.nn.Module, after: torch.nn.Module, folded: int, kept: int) -> bool:
    images, labels = data.digits("test")
    first, second = (model.eval()(torch.from_numpy(images)) for model in (before, after))
    same = int((first.argmax(1) == second.argmax(1)).sum())
    accuracy = [float(np.mean(out.argmax(1).numpy() == labels)) for out in (first, second)]
    console.print(
        f"\nEffective masks written back: {folded} constants folded into biases, {kept} connections kept for theirs.\n"
        f"Test images with the same prediction: {same} of {len(labels)}; accuracy {accuracy[0]:.1%} before, "
        f"{accuracy[1]:.1%} after; largest change of an output {float((first - second).abs().max()):.1e}."
    )
    return same == len(labels)

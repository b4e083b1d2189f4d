"""ViT-B/16 and ResNet-50 at 224, masks at 90 %: the sweep to effective sparsity against one forward pass in float32.

Run: python benchmarks/sweeps.py   (a minute or two)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import transformers
from timing import medians, report

import graphsparse as gs

HERE = Path(__file__).parent
transformers.logging.set_verbosity_error()


MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "ViT-B/16": lambda: transformers.ViTForImageClassification(transformers.ViTConfig()),
    "ResNet-50": lambda: transformers.ResNetForImageClassification(transformers.ResNetConfig()),
}


def rows() -> list[dict[str, object]]:
    """One row a model and resolution."""
    found: list[dict[str, object]] = []
    for name, build in MODELS.items():
        model, image = build().eval(), torch.rand(1, 3, 224, 224)
        for resolution, goal in (("unrolled", 10), ("channel", 1)):
            start = time.perf_counter()
            graph = gs.export(model, kwargs={"pixel_values": image}, masks={}, resolution=resolution)
            capture = time.perf_counter() - start
            generator = torch.Generator().manual_seed(0)
            masks = {n: torch.rand(shape, generator=generator) < 0.1 for n, shape in graph.shapes.items()}
            masked = graph.with_masks(masks)
            with torch.no_grad():
                times = medians(
                    {"sweep": partial(gs.sparsity, masked), "forward": partial(model, pixel_values=image)}, 5
                )
            found.append({
                "model": name, "resolution": resolution, "units": graph.n_units, "capture s": capture,
                "sweep ms": times["sweep"] * 1e3, "forward ms": times["forward"] * 1e3,
                "ratio": times["sweep"] / times["forward"], "goal": goal,
            })  # fmt: skip
    return found


if __name__ == "__main__":
    report("Sweep to effective sparsity against one forward pass, batch 1", rows(), HERE / "sweeps.json")

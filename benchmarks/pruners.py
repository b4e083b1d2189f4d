"""Every pruner on every network of the zoo at compressions 10 to 100,000: is the effective target met to a tie group?

Methods that work in rounds get 100 of them on the LeNets and 10 on the larger networks, for the sake of the time.
Run: python benchmarks/pruners.py [network ...]   (half an hour for all; a minute for the two LeNets)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import report

import graphsparse as gs
from graphsparse import zoo
from graphsparse.errors import TargetError
from graphsparse.passes.liveness import active_connections
from graphsparse.passes.scores import effective_scores
from graphsparse.pruning.methods import METHODS, saliency
from graphsparse.pruning.prune import active_at, wanted_connections

HERE = Path(__file__).parent


COMPRESSIONS = (10, 100, 1000, 10_000, 100_000)


def batches(shape: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Two batches of noise with labels."""
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, *shape, generator=generator), torch.arange(8) % 10) for _ in range(2)]


def check(graph: gs.LayeredGraph, scores: Mapping[str, np.ndarray], compression: float) -> dict[str, Any]:
    """What a target came to: met to a tie group and a fixed point, or refused with the highest compression."""
    wanted = wanted_connections(graph, None, compression)
    flat = np.concatenate([array.ravel() for array in effective_scores(graph, scores).values()])
    try:
        masks = active_at(graph, scores, wanted)[0]
    except TargetError:
        fewest = int(np.count_nonzero(flat == flat.max()))
        return {"outcome": "infeasible", "active": fewest, "ok": fewest > wanted}
    active = sum(int(mask.sum()) for mask in masks.values())
    without_last_group = int(np.count_nonzero(flat > np.partition(flat, flat.size - wanted)[flat.size - wanted]))
    again = active_connections(graph.with_masks(masks))
    fixed = all(np.array_equal(again[name], mask) for name, mask in masks.items())
    return {"outcome": "met", "active": active, "ok": without_last_group < wanted <= active and fixed}


def table(name: str) -> list[dict[str, Any]]:
    """All methods and compressions for one network."""
    model, example = zoo.build(name), torch.zeros(1, *zoo.input_shape(name))
    graph, rows = gs.export(model, example, {}), []
    for method, entry in METHODS.items():
        start, outcomes = time.perf_counter(), []
        scores: Mapping[str, np.ndarray] = {}
        for compression in COMPRESSIONS:
            rounds: dict[str, Any] = {"rounds": 10} if "rounds" in entry.options and graph.n_connections > 1e6 else {}
            if "rounds" in entry.options or not scores:
                scores = saliency(
                    method, model, list(graph.shapes), example_inputs=example, data=batches(zoo.input_shape(name)),
                    compression=compression, **rounds,
                )  # fmt: skip
            outcomes.append(check(graph, scores, compression))
        shown = {
            f"{c:,}": ("" if o["outcome"] == "met" else "at least ")
            + f"{o['active']:,}"
            + ("" if o["ok"] else " WRONG")
            for c, o in zip(COMPRESSIONS, outcomes, strict=True)
        }
        rows.append({"network": name, "method": method, **shown, "s": time.perf_counter() - start})
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    names = sys.argv[1:] or ["lenet300100", "lenet5", "resnet18", "vgg16", "vgg19"]
    rows = [row for name in names for row in table(name)]
    title = "Active connections at effective compressions; 'at least': the network disconnects before"
    report(title, rows, HERE / "pruners.json")

"""Scores in memory to effective masks at a target: against the paper's bisection, against sorting, and against size.

Run: python benchmarks/prune.py   (some two minutes)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from gradient import vgg_masks
from timing import medians, report
from torch import nn

import graphsparse as gs
from graphsparse import zoo
from graphsparse.pruning.magnitude import lamp
from graphsparse.pruning.methods import saliency
from graphsparse.pruning.prune import active_at

HERE = Path(__file__).parent


STEPS = 25  # of the paper's search
Arrays = Mapping[str, np.ndarray]
Sort = Callable[[np.ndarray], np.ndarray]


def captured(name: str) -> gs.LayeredGraph:
    """A zoo network, unrolled, without masks."""
    return gs.export(zoo.build(name), torch.zeros(1, *zoo.input_shape(name)), {})


def drawn(graph: gs.LayeredGraph) -> dict[str, np.ndarray]:
    """Normal scores, float32."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in graph.shapes.items()}


def with_torch(flat: np.ndarray) -> np.ndarray:
    """Sorted as the paper's code sorts."""
    return torch.from_numpy(flat).sort()[0].numpy()


def bisected(scores: Arrays, wanted: int, sort: Sort) -> dict[str, torch.Tensor]:
    """The paper's search for the effective masks of VGG-19 with at least ``wanted`` connections, the fewest such.

    Each step sorts all scores, masks what falls, and sweeps with a gradient (Vysogorets and Kempe 2023, section 4).
    """
    low, high, best = 0, sum(array.size for array in scores.values()), {}
    for _ in range(STEPS):
        kept = (low + high) // 2
        flat = sort(np.concatenate([array.ravel() for array in scores.values()]))
        threshold = flat[len(flat) - max(kept, 1)]
        active = vgg_masks({name: torch.from_numpy(array >= threshold) for name, array in scores.items()})
        if sum(int(mask.sum()) for mask in active.values()) >= wanted:
            high, best = kept, active
        else:
            low = kept
    return best


def against_bisection() -> None:
    """One sweep against the search, with NumPy's sort (the fastest there is here) and with torch's (the paper's)."""
    graph, rows = captured("vgg19"), []
    scores = drawn(graph)
    for compression in (10, 100, 1000):
        wanted = graph.n_connections // compression
        ours, theirs = active_at(graph, scores, wanted)[0], bisected(scores, wanted, np.sort)
        agree = all(np.array_equal(ours[name], theirs[name].numpy()) for name in ours)
        sweep = medians({"ours": partial(active_at, graph, scores, wanted)}, 9)["ours"]
        both: dict[str, Sort] = {"NumPy": np.sort, "torch": with_torch} if compression == 100 else {"NumPy": np.sort}
        search = medians({name: partial(bisected, scores, wanted, sort) for name, sort in both.items()}, 1)
        for name, seconds in search.items():
            rows.append({"compression": compression, "sort": name, "bisection s": seconds, "ours ms": sweep * 1e3,
                         "times faster": seconds / sweep, "agree": agree})  # fmt: skip
    report("VGG-19, unrolled: scores to effective masks at a target (goal 100x)", rows, HERE / "bisection.json")


def against_sorting() -> None:
    """The whole curve, and LAMP, against one sort of 20 million scores."""
    graph, model = captured("vgg19"), zoo.build("vgg19")
    scores = drawn(graph)
    flat = np.concatenate([array.ravel() for array in scores.values()])
    times = medians({
        "sort": lambda: np.sort(flat),
        "curve": lambda: gs.compression_curve(graph, scores),
        "LAMP": lambda: lamp(model, list(graph.shapes)),
    })  # fmt: skip
    rows = [
        {"what": name, "ms": times[name] * 1e3, "sort ms": times["sort"] * 1e3, "in sorts": times[name] / times["sort"]}
        for name in ("curve", "LAMP")
    ]
    report("VGG-19, 20 million connections, against np.sort once (goal 3x)", rows, HERE / "sorting.json")


def small() -> None:
    """Random pruning under ideal-gas quotas to an effective target, LeNet-300-100."""
    graph, model = captured("lenet300100"), zoo.build("lenet300100")

    def masks(compression: float) -> dict[str, np.ndarray]:
        scores = saliency("random/igq", model, list(graph.shapes), seed=1)
        return active_at(graph, scores, round(graph.n_connections / compression))[0]

    compressions = (10, 100, 1000)
    times = medians({str(c): partial(masks, c) for c in compressions})
    rows = [{"compression": c, "ms": times[str(c)] * 1e3} for c in compressions]
    report("LeNet-300-100: random/igq to an effective target (goal 20 ms)", rows, HERE / "igq.json")


def by_size() -> None:
    """Fully connected chains of four square kernels, scores to masks at compression 100."""
    rows = []
    for million in (1, 4, 16, 64):
        width = round((million * 2**20 / 4) ** 0.5)
        with torch.device("meta"):
            chain = nn.Sequential(*[nn.Linear(width, width, bias=False) for _ in range(4)])
        graph = gs.export(chain, torch.zeros(1, width, device="meta"), {})
        scores, wanted = drawn(graph), graph.n_connections // 100
        flat = np.concatenate([array.ravel() for array in scores.values()])
        times = medians({"ours": partial(active_at, graph, scores, wanted), "sort": partial(np.sort, flat)}, 5)
        size = graph.n_connections / 1e6
        rows.append({"million connections": size, "ms": times["ours"] * 1e3,
                     "ns a connection": times["ours"] * 1e3 / size, "sort ms": times["sort"] * 1e3})  # fmt: skip
    report("Time against size (goal: linear)", rows, HERE / "size.json")


if __name__ == "__main__":
    against_bisection()
    against_sorting()
    small()
    by_size()

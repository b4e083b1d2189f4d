"""The paper's headline on LeNet-300-100, by simulation: what random pruning at compression 100 really leaves; and SynFlow.

Run: python benchmarks/headline.py [draws]   (some twenty seconds for 2,000 draws)
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from timing import report

import graphsparse as gs
from graphsparse import zoo
from graphsparse.measures.expected import simulate_effective
from graphsparse.pruning.methods import saliency

HERE = Path(__file__).parent


WIDTHS = (784, 300, 100, 10)
PAPER = {"uniform": 1044, "erk": 115, "igq": 102}


def random_quotas(draws: int) -> None:
    """Effective compression of random masks with each quota's layer counts."""
    shapes = [(outputs, inputs) for inputs, outputs in pairwise(WIDTHS)]
    connections, rows = sum(a * b for a, b in shapes), []
    for name, about in PAPER.items():
        densities = [1 - sparsity for sparsity in gs.quotas(name, shapes, 0.99)]
        active = simulate_effective(WIDTHS, densities, draws, seed=1, fixed=True)
        rows.append({
            "quota": name, "active": float(active.mean()), "standard error": float(active.std() / draws**0.5),
            "closed form": gs.expected_effective(WIDTHS, densities),
            "effective compression": connections / float(active.mean()), "expected": about,
        })  # fmt: skip
    title = f"LeNet-300-100, random masks at direct compression 100, {draws} draws"
    report(title, rows, HERE / "headline.json")


def synflow_gap(seeds: int = 5) -> None:
    """How many of the connections that SynFlow leaves at the end of its rounds are dead, down to 100 of them."""
    rows = []
    for name in ("lenet300100", "lenet5"):
        for left in (10_000, 1000, 300, 200, 150, 100):
            gaps = [_dead(name, left, seed) for seed in range(seeds)]
            rows.append({"network": name, "connections": left, "dead, mean": float(np.mean(gaps)), "most": max(gaps),
                         "gap %, mean": 100 * float(np.mean(gaps)) / left})  # fmt: skip
    report(f"SynFlow, direct against effective, {seeds} initial weights (goal 0.5 %)", rows, HERE / "synflow.json")


def _dead(name: str, left: int, seed: int) -> int:
    model, example = zoo.build(name, seed), torch.zeros(1, *zoo.input_shape(name))
    graph = gs.export(model, example, {})
    end = graph.n_connections / left
    scores = saliency("synflow", model, list(graph.shapes), example_inputs=example, compression=end)
    curve = gs.compression_curve(graph, scores)
    place = int(np.searchsorted(curve.kept, left))
    return int(curve.kept[place] - curve.active[place])


if __name__ == "__main__":
    random_quotas(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
    synflow_gap()

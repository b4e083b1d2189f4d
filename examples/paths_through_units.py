"""How many paths lead through each unit, and what would bring a dead connection back?

Run: python examples/paths_through_units.py
"""

import numpy as np
import torch

import graphsparse as gs
from graphsparse import zoo
from graphsparse.algebras import log10_of_pairs
from graphsparse.passes.paths import path_counts, revival_costs

torch.manual_seed(0)
graph = gs.export(zoo.build("lenet5"), torch.zeros(1, 3, 32, 32), {}, resolution="channel")
graph = graph.with_masks({name: torch.rand(shape) < 0.05 for name, shape in graph.shapes.items()})

through = path_counts(graph).connections()
for name, counts in through.items():
    print(f"{name:12} at most 10^{log10_of_pairs(counts).max():.1f} paths through one connection")

costs = np.concatenate([cost.ravel() for cost in revival_costs(graph).connections().values()])
for cost, count in zip(*np.unique(costs[costs > 0], return_counts=True)):
    print(f"{count:6} connections need {cost:.0f} to come alive")

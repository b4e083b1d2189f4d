"""How many connections are alive in randomly pruned networks? 1,000 masks at once, 64 to a machine word.

Run: python examples/many_random_masks.py
"""

import numpy as np
import torch

import graphsparse as gs
from graphsparse import zoo

rng = np.random.default_rng(0)
graph = gs.export(zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28), {})
masks = {name: rng.random((1000, *shape), np.float32) < 0.01 for name, shape in graph.shapes.items()}
active = gs.sparsity_of(graph, masks).active.sum(1)
shapes = list(graph.shapes.values())
print(f"active: {active.mean():.1f} +- {active.std():.1f} of {graph.n_connections}")
print(f"by the closed form: {gs.expected_effective(shapes, [0.01] * len(shapes)):.1f}")

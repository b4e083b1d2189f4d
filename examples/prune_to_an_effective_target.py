"""Prune a network so that a hundredth of its connections is really active, and write the masks back.

Run: python examples/prune_to_an_effective_target.py
"""

import torch

import graphsparse as gs
from graphsparse import zoo

torch.manual_seed(0)
model, x = zoo.build("lenet300100"), torch.zeros(1, 1, 28, 28)
network = gs.network(model, x)  # captured once, for all that follows
masks = gs.prune(network, "lamp", compression=100)
found = gs.sparsity(gs.export(network, masks))
print(f"kept {found.kept}, active {found.active} of {found.connections}")

gs.write_masks(network, masks)
print(gs.sparsity(gs.export(network)))

"""Prune a network hard, take its dead units out, and go on training with the state of the optimiser.

Run: python examples/take_dead_units_out.py
"""

import torch

import graphsparse as gs
from graphsparse import zoo

torch.manual_seed(0)
model, x = zoo.build("lenet300100"), torch.randn(32, 1, 28, 28)
optimiser = torch.optim.Adam(model.parameters())
model(x).square().mean().backward()
optimiser.step()

masks = gs.prune(model, x[:1], "random/erk", compression=500)
small = gs.compact(model, x[:1], masks)
print(small)
print(small.report.frame[["units", "left", "masked", "why"]])

averages = {name: optimiser.state[parameter]["exp_avg"] for name, parameter in model.named_parameters()}
kept = small.shrink(averages)
print("Adam remembers of fc2.weight", tuple(kept["fc2.weight"].shape), "of", tuple(averages["fc2.weight"].shape))
again = small.expand()  # the whole masked model
print("outputs differ by", float((small.model(x) - again(x)).abs().max().detach().round(decimals=4)))

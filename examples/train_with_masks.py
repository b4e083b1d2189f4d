"""Train a network, prune it on the way to a two-hundredth that is really active, and go on with zeros that stay zeros.

Run: python examples/train_with_masks.py
"""

import numpy as np
import torch

import graphsparse as gs
from graphsparse import zoo
from graphsparse.data import path
from graphsparse.training.callbacks.loop import Loop
from graphsparse.training.gradual import Gradual
from graphsparse.training.schedules import Schedule

torch.manual_seed(0)
digits = {name: torch.from_numpy(array) for name, array in np.load(path("digits.npz")).items()}
images, labels = digits["train_images"][:, None] / 16, digits["train_labels"].long()
model = zoo.build("digits_mlp")
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)

network = gs.network(model, images[:1])  # captured once, for every pruning that follows
handle = gs.keep_masks(model, {}, optimizer)  # everything is kept at first
schedule = Gradual(handle, network, Schedule(final=0.995, begin=50, end=450, every=50))
loop = Loop(handle, network, schedule, every=200)

for step in range(1, 801):
    batch = torch.randint(len(images), (64,))
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
    optimizer.step()
    if numbers := loop.at(step):
        print(step, {name: round(number, 4) for name, number in numbers.items()})

model.eval()
right = model(digits["test_images"][:, None] / 16).argmax(1) == digits["test_labels"]
zeros = sum(int((parameter == 0).sum()) for parameter in model.parameters() if parameter.dim() > 1)
print(f"active {loop.changes[-1].active} of {loop.changes[-1].connections}, {zeros} weights are exactly zero")
print(f"accuracy {right.float().mean():.1%}")

"""What becomes of a network while a dynamic sparse trainer drops and grows connections? Saves a run, then follows it.

Run: python examples/follow_a_run.py [FOLDER FOR THE CHECKPOINTS]
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F

import graphsparse as gs
from graphsparse import data, zoo

run = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
run.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
images, labels = map(torch.from_numpy, data.digits("train"))
model = zoo.build("digits_mlp")
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
kernels = {name: p for name, p in model.named_parameters() if p.dim() > 1}
masks = {name: torch.rand(p.shape) < share for (name, p), share in zip(kernels.items(), (0.02, 0.02, 0.2))}


def drop() -> None:
    for name, weight in kernels.items():
        weight.data[~masks[name]] = 0


for step in range(0, 601, 100):  # SET: every 100 steps the smallest fifth goes, and as many grow at random
    drop()
    torch.save(model.state_dict(), run / f"step_{step:06d}.pt")
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels.long()).backward()
        optimizer.step()
        drop()
    for name, weight in kernels.items():
        mask, flat = masks[name].view(-1), weight.data.view(-1)
        kept, free = mask.nonzero().ravel(), (~mask).nonzero().ravel()
        count = len(kept) // 5
        mask[kept[flat[kept].abs().argsort()[:count]]] = False
        grown = free[torch.randperm(len(free))[:count]]
        mask[grown], flat[grown] = True, 0.05 * torch.randn(count)

found = gs.track(run, "graphsparse.zoo:digits_mlp", torch.zeros(1, 8, 8))
print(found.totals[["kept", "active", "itop", "units_born", "units_died", "overlap_last"]].round(3))
print(found.deaths["cut_by"].value_counts().head(3).to_string())
print(f"{len(found.steps)} checkpoints, {len(found.deaths)} deaths of units, {len(found.collapses)} collapses")

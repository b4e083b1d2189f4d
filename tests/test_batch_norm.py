"""Batch normalisation as modules call it is one operation, with what torch makes of it as the judge."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphsparse as gs
from graphsparse.capture import Rule

WHOLE = torch.ops.aten.batch_norm.default


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_not_taken_apart(affine, running, statistics):
    normal = nn.BatchNorm2d(4, affine=affine, track_running_stats=running)
    if running:
        normal.running_mean[1] = 1.0
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), normal, nn.ReLU(), nn.Conv2d(4, 3, 2)).eval()
    settings = {"masks": {}, "norm_statistics": statistics}
    whole = gs.export(model, torch.zeros(1, 2, 5, 5), **settings)
    apart = gs.export(model, torch.zeros(1, 2, 5, 5), extra_rules={WHOLE: Rule(None)}, **settings)
    assert whole.coverage.rules["batch_norm"] == 1 and "batch_norm" not in apart.coverage.rules
    assert (whole.n_units, set(whole.modulators)) == (apart.n_units, set(apart.modulators))
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        masks = {name: torch.rand(shape, generator=generator) < 0.3 for name, shape in whole.shapes.items()}
        one, other = (gs.effective_masks(graph.with_masks(masks)) for graph in (whole, apart))
        assert all(torch.equal(one[name], other[name]) for name in other)

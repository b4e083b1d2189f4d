"""What a command costs before its work: what it imports, and how seldom it looks for garbage."""

from __future__ import annotations

import gc
import subprocess
import sys

import torch
from numba.core.dispatcher import Dispatcher
from torch import nn

import graphsparse as gs
from graphsparse import data
from graphsparse.cli import seldom
from graphsparse.kernels import found, line_maps, lines, maps

LOOPS = [
    each for module in (found, line_maps, lines, maps) for each in vars(module).values() if isinstance(each, Dispatcher)
]
"""With the steps inside them, which are compiled with them."""

NEVER = ("pandas", "igraph", "rich.progress", "jinja2", "transformers", "scipy.sparse.csgraph")
"""What takes long to import and no short command needs. SciPy's arrays and networkx come with numba and torch."""


def test_analyze_imports_no_library_that_it_does_not_use():
    command = [
        "analyze",
        str(data.path("digits-mlp-200x.pt")),
        "--model",
        "graphsparse.zoo:digits_mlp",
        "--input",
        "1x8x8",
    ]
    code = f"""if True:
        import atexit, sys
        from graphsparse.cli import main
        atexit.register(lambda: print("loaded:", *[name for name in {NEVER!r} if name in sys.modules]))
        main({command!r})
    """
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "202 of 50,200 active" in out
    assert out.splitlines()[-1] == "loaded:"


def test_garbage_is_collected_as_before_after_a_command():
    before = gc.get_threshold()
    with seldom():
        assert gc.get_threshold()[0] > 10 * before[0] and gc.isenabled()
    assert gc.get_threshold() == before


class Every(nn.Module):
    """Groups, padding, normalisation, attention, a transposed convolution and a product: every loop over bits."""

    def __init__(self):
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 5)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        y = self.conv(x)
        z = self.norm(y.flatten(2).transpose(1, 2))
        z = z + self.attention(z, z, z, need_weights=False)[0]
        return self.head(z) * torch.sigmoid(self.head(z)), self.up(y)


def test_loops_over_bits_are_compiled_for_one_type_of_each_argument():
    before = {loop: set(loop.signatures) for loop in LOOPS}
    masks = (None, {}, {"head.weight": torch.ones(5, 6) > 0}, {"norm.weight": torch.arange(6) > 2})
    for resolution in ("channel", "unrolled"):
        for each in masks:
            graph = gs.export(Every(), torch.zeros(1, 3, 6, 6), each, resolution=resolution)
            assert gs.sparsity(graph).kept and gs.effective_masks(graph)
    used = {loop: before[loop] | set(loop.signatures) for loop in LOOPS}
    assert {str(loop): len(types) for loop, types in used.items() if len(types) > 1} == {}
    assert sum(map(len, used.values())) > 12

"""How sparse is a saved checkpoint really? Reads a pruned network from a file and prints what is alive in it.

Run: python examples/analyze_a_checkpoint.py
"""

import torch

import graphsparse as gs
from graphsparse.data import path

report = gs.analyze(path("digits-mlp-200x.pt"), "graphsparse.zoo:digits_mlp", torch.zeros(1, 8, 8))
print(report.frame[["connections", "kept", "active"]])
print(f"direct compression {report.summary['direct_compression']:.0f}x, "
      f"effective {report.summary['effective_compression']:.0f}x")  # fmt: skip

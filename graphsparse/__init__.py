"""graphsparse: how sparse pruned networks really are.

A pruned network is a graph: units are nodes, kept weights are edges. A kept weight on no path from an input to an output
does nothing; effective sparsity counts it as removed. Start with `analyze`, or with `export` and `sparsity`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(
        (
            "ArgumentError",
            "CaptureError",
            "CheckpointError",
            "GraphsparseError",
            "MaskError",
            "MissingExtra",
            "ModelError",
            "TargetError",
            "UnsupportedOperations",
        ),
        "graphsparse.errors",
    ),
    "LayeredGraph": "graphsparse.graph",
    "Network": "graphsparse.capture",
    "analyze": "graphsparse.reports.analyze",
    "compression_curve": "graphsparse.effective",
    "effective_masks": "graphsparse.effective",
    "effective_scores": "graphsparse.effective",
    "expected_effective": "graphsparse.measures.expected",
    "explain": "graphsparse.metrics.explain",
    "export": "graphsparse.capture",
    "network": "graphsparse.networks",
    "prune": "graphsparse.pruning.prune",
    "quotas": "graphsparse.pruning.quotas",
    "read_masks": "graphsparse.checkpoints",
    "sparsity": "graphsparse.measures.sparsity",
    "sparsity_of": "graphsparse.measures.batch",
    "topology": "graphsparse.metrics.topology",
    "write_masks": "graphsparse.surgery",
}
"""Where each public name lives; it is imported when it is first asked for, so that ``import graphsparse`` is quick."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'graphsparse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
